"""What was trained on embeddings, as a small folder: JSON and safetensors, no pickle.

`trained.json` says what it is and which encoder, layers, unit and pool it looks at; `tensors-HASH.safetensors` holds
its numbers, named by their own hash. The JSON is replaced last, so whoever opens the folder finds the old one
whole, or the new one. What was trained on one encoder is refused on another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.apps.mix import Data, Layer, Mix
from lamina.dataset.durable import make_folder, remove, write_bytes
from lamina.dataset.lock import LOCK, locked
from lamina.dataset.manifest import Made
from lamina.dataset.reader import Dataset
from lamina.dataset.sealed import sealed, unsealed
from lamina.embeddings import COMBINED
from lamina.errors import CheckpointError, SpecError, TrainedError
from lamina.spec import Spec, Unit

FORMAT = "lamina-trained"
VERSION = 1
FILE = "trained.json"
TENSORS = "tensors-*.safetensors"
ALIKE = ("unit", "pool", "combine", "special", "dims", "normalize", "prompt")  # what decides vectors, layers apart

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Encoder:
    """Which encoder made the vectors: everything that decides their numbers."""

    model: str
    revision: str | None
    family: str
    weights_sha256: str
    tokenizer_sha256: str
    precision: str
    recipe_sha256: str | None = None

    @classmethod
    def of(cls, made: Made) -> Encoder:
        """The encoder of a dataset."""
        return cls(**{one.name: getattr(made, one.name) for one in fields(cls)})

    def check(self, other: Encoder) -> None:
        """Raises CheckpointError where `other` has other weights, tokens or sentence modules than this one."""
        for name, what in (
            ("weights_sha256", "weights"),
            ("tokenizer_sha256", "tokenizer"),
            ("recipe_sha256", "sentence-transformers modules"),
        ):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise CheckpointError(
                    f"this was trained on {self.model} and cannot be used with {other.model}: the {what} differ "
                    f"(sha256 {str(mine)[:12]}…, here {str(theirs)[:12]}…); train it again on the other encoder"
                )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a trained thing looks: which encoder, which layer or mix of it, which units.

    encoder  None for vectors of unknown origin; what is trained on them can be used on any.
    spec     extracts just the layers that are needed.
    layer    the mix of them, as a word, with the layers' own numbers.
    """

    encoder: Encoder | None
    spec: Spec
    layer: str

    @property
    def mix(self) -> Mix:
        """What is taken from data of that Spec."""
        return Mix.parse(self.layer)

    def check(self, data: Data) -> None:
        """Raises CheckpointError or SpecError where a dataset's vectors were made otherwise than those learnt from."""
        if not isinstance(data, Dataset):
            return
        if self.encoder is not None:
            self.encoder.check(Encoder.of(data.manifest.made))
        for name in ALIKE:
            mine, theirs = getattr(self.spec, name), getattr(data.spec, name)
            if mine != theirs:
                raise SpecError(f"this was trained with {name} {mine!r}, and {data.folder} has {name} {theirs!r}")


def place_of(data: Data, layer: Layer = -1, *, unit: Unit = "text") -> Place:
    """Where the vectors of a `layer` (or mix) of the data come from. A Dataset knows all of it; of Embeddings, `unit`
    is what they are of. Raises SpecError for a layer that is not there."""
    if isinstance(data, Dataset):
        spec, encoder = data.spec, Encoder.of(data.manifest.made)
    else:
        spec, encoder = Spec(unit=unit), None
    mix = Mix.parse(layer).numbered(data.layers)
    if not data.layers:
        return Place(encoder, spec, COMBINED)
    return Place(encoder, replace(spec, layers=mix.layers), str(mix))


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A trained thing as it is stored.

    app      `classify` or `tag`.
    labels   what it can say.
    about    the rest, as JSON values: its kind and options, what it was trained on, how well it did.
    tensors  its numbers, by name.
    """

    app: str
    place: Place
    labels: tuple[str, ...]
    about: Mapping[str, Any]
    tensors: Mapping[str, Array]


def check_free(folder: str | Path, *, overwrite: bool) -> None:
    """Raises TrainedError where a trained thing may not be written into the folder; call it before the work begins."""
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise TrainedError(f"{path} is a file; what is trained goes into a folder")
    if not path.is_dir() or all(found.name == LOCK for found in path.iterdir()):
        return
    if not (path / FILE).is_file():
        raise TrainedError(f"{path} holds other files: give a folder that is new or empty")
    if not overwrite:
        raise TrainedError(f"{path} holds something trained already: give another folder, or ask to overwrite it")


def write_trained(folder: str | Path, trained: Trained, *, overwrite: bool = False) -> None:
    """Write a trained thing into a folder that is new or empty, or with `overwrite` in place of another.

    At every instant the folder shows the old one whole or the new one. Raises TrainedError.
    """
    from safetensors.numpy import save

    check_free(folder, overwrite=overwrite)
    path = Path(folder)
    content = save({name: np.ascontiguousarray(tensor) for name, tensor in trained.tensors.items()})
    digest = hashlib.sha256(content).hexdigest()
    name = TENSORS.replace("*", digest[:16])
    text = json.dumps(_json(trained, name, digest), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        make_folder(path)
        with locked(path):  # two that write at once would each remove the other's tensors
            write_bytes(path / name, content)
            write_bytes(path / FILE, text.encode())
            for older in path.glob(TENSORS):
                if older.name != name:
                    remove(older)
    except OSError as error:
        raise TrainedError(f"{path} cannot be written: {error.strerror}") from None


def read_trained(folder: str | Path, *, app: str) -> Trained:
    """The inverse of `write_trained`. Raises TrainedError for what is not there, damaged, of another app or newer."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = Path(folder)
    found = _read_json(path / FILE, path, app)
    try:
        name, digest = found["tensors"]["file"], found["tensors"]["sha256"]
        if Path(name).name != name or not Path(name).match(TENSORS):
            raise ValueError(f"{name!r} is no name of its tensors")
        content = (path / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError(f"{name} does not hold what was written")
        encoder = None if found["encoder"] is None else Encoder(**found["encoder"])
        place = Place(encoder, Spec.parse(found["spec"]), str(found["layer"]))
        Mix.parse(place.layer)
        labels = tuple(str(label) for label in found["labels"])
        return Trained(app, place, labels, dict(found["about"]), load(content))
    except FileNotFoundError as error:
        raise TrainedError(f"{error.filename} is missing: the folder is not whole") from None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise TrainedError(f"{path / FILE} is damaged: {error}") from None


def _read_json(path: Path, folder: Path, app: str) -> dict[str, Any]:
    try:
        found = unsealed(path, FORMAT, VERSION, other="nothing that Lamina has trained", error=TrainedError)
    except (FileNotFoundError, NotADirectoryError):
        raise TrainedError(f"{folder} holds nothing trained: `lamina {app} train -o {folder}` makes it") from None
    if found.get("app") != app:
        raise TrainedError(f"{folder} was made by `lamina {found.get('app')}`, not by `lamina {app}`")
    return found


def _json(trained: Trained, name: str, digest: str) -> dict[str, Any]:
    encoder = trained.place.encoder
    values = {
        "app": trained.app,
        "encoder": None if encoder is None else asdict(encoder),
        "spec": str(trained.place.spec),
        "layer": trained.place.layer,
        "labels": list(trained.labels),
        "about": dict(trained.about),
        "tensors": {"file": name, "sha256": digest},
    }
    return sealed(FORMAT, VERSION, values)


def tensor(trained: Trained, name: str, *shape: int | None) -> Array:
    """A stored tensor, its shape checked (None: any size). Raises TrainedError."""
    found = trained.tensors.get(name)
    if found is None or len(found.shape) != len(shape):
        raise TrainedError(f"the stored {trained.app} has no tensor {name!r} of {len(shape)} axes")
    if any(wanted is not None and size != wanted for size, wanted in zip(found.shape, shape, strict=True)):
        raise TrainedError(f"the stored tensor {name!r} is {list(found.shape)}; expected {list(shape)}")
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise TrainedError(f"the stored tensor {name!r} holds numbers that are not finite")
    return found
