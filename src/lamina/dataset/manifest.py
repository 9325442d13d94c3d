"""The manifest: what a dataset holds and what made it. `manifest.json`, format version 1, described in docs/format.md.

A reader refuses a version that it does not know; it reads every older one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lamina.dataset.durable import write_bytes
from lamina.dataset.manifest_kinds import check_kinds
from lamina.dataset.sealed import sealed, unsealed
from lamina.embeddings import COMBINED, layer_column
from lamina.errors import DatasetError
from lamina.spec import Dtype, Spec

Store = Literal["parquet", "arrow", "lance"]

FORMAT = "lamina-dataset"
VERSION = 1
FILE = "manifest.json"
IDF = "idf.npy"  # in how many texts each token id occurs, int64 [V]
TRANSFORMS = "transforms"  # the folder of fitted transforms
INDEXES = "indexes"  # the folder of search indexes: caches, each made again where it no longer fits
SHARDS = "shards"  # the folder of shards: nothing else lies in it, so any Parquet reader opens it whole


class Place(NamedTuple):
    """Where a row stands: its text's number, and how many of that text's rows come before it."""

    text: int
    row: int = 0


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of rows: of whole texts, but for a text that fills several shards.

    name     a plain file name in the shards folder.
    n_texts  texts that end in it, those without any row too.
    n_open   rows at its end of a text that goes on in the next shard.
    """

    name: str
    n_rows: int
    n_bytes: int
    sha256: str
    n_texts: int
    n_open: int = 0


@dataclass(frozen=True, slots=True)
class Input:
    """One input that a dataset was made of. All but `first_text` is None where it was no file that can be read again.

    first_text  the number of its first text.
    name        the file's name; where it lies is not recorded.
    read_as     how it was read: the values of `lamina.Source`.
    """

    first_text: int
    name: str | None = None
    n_bytes: int | None = None
    sha256: str | None = None
    read_as: dict[str, Any] | None = None

    @property
    def identity(self) -> tuple[Any, ...]:
        """What decides its texts: not what the file is called."""
        return self.sha256, self.read_as

    def __str__(self) -> str:
        if self.sha256 is None or self.read_as is None:
            return "no file"
        read_as = ", ".join(f"{name} {value}" for name, value in self.read_as.items() if value is not None)
        return f"{self.name} ({self.n_bytes:,} bytes, sha256 {self.sha256[:12]}…; {read_as})"


@dataclass(frozen=True, slots=True)
class Made:
    """What a dataset was made with: everything that decides its numbers."""

    model: str
    revision: str | None
    family: str
    weights_sha256: str
    tokenizer_sha256: str
    engine: str
    precision: str
    versions: dict[str, str]
    recipe_sha256: str | None = None  # of the sentence-transformers recipe, where the pool is `model`
    config_sha256: str | None = None
    calibration_sha256: str | None = None  # of the 8-bit ranges, where the precision is `int8`

    @property
    def identity(self) -> dict[str, Any]:
        """All but what the model is called, which moves with its folder: its hashes say which it is."""
        return {name: value for name, value in asdict(self).items() if name not in ("model", "revision")}

    def differences(self, other: Made) -> list[str]:
        """What was used for `other` and not here, that may change a number."""
        mine, theirs = self.identity, other.identity
        return [f"{name} was {mine[name]} and is {theirs[name]}" for name in mine if mine[name] != theirs[name]]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A dataset's description.

    layers     numbers of the layers, in the order of their columns; where they are combined, what went into it.
    width      D of a vector column.
    travelled  the units table's columns that came along from the input.
    store      how its shards are stored.
    inputs     what it was made of, in order; each but the first was appended.
    idf        where the pool is `idf`: the number of texts it was fitted on, and the sha256 of idf.npy.
    statuses   how many rows have each status (ok, empty, dropped, cut).
    complete   False while it is being written, or where writing was interrupted.
    """

    spec: str
    layers: tuple[int, ...]
    width: int
    made: Made
    store: Store = "parquet"
    inputs: tuple[Input, ...] = (Input(0),)
    travelled: tuple[str, ...] = ()
    idf: dict[str, Any] | None = None
    n_texts: int = 0
    n_rows: int = 0
    n_tokens: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    shards: tuple[Shard, ...] = ()
    complete: bool = False

    @property
    def parsed_spec(self) -> Spec:
        return Spec.parse(self.spec)

    @property
    def dtype(self) -> Dtype:
        return self.parsed_spec.dtype

    @property
    def vector_columns(self) -> tuple[str, ...]:
        """The names of the vector columns."""
        if self.parsed_spec.combine != "none":
            return (COMBINED,)
        return tuple(layer_column(number) for number in self.layers)

    @property
    def places(self) -> tuple[Place, ...]:
        """Where each shard begins, and last where the next one would."""
        found = [Place(0)]
        for shard in self.shards:
            text, row = found[-1]
            found.append(Place(text + shard.n_texts, shard.n_open if shard.n_texts else row + shard.n_open))
        return tuple(found)

    @property
    def has_lost_inputs(self) -> bool:
        """Whether an input was no file that can be read again."""
        return any(one.sha256 is None for one in self.inputs)

    @property
    def input_names(self) -> str:
        """The inputs, for people."""
        return ", ".join(map(str, self.inputs))

    def input_of(self, text: int) -> int:
        """Which of the inputs a text comes from; the last one for a text yet to come."""
        return max(k for k, one in enumerate(self.inputs) if one.first_text <= text or k == 0)

    def fingerprint(self, which: int) -> str:
        """Eight hexadecimal digits from all that decides the rows of an input: the job that writes them."""
        one = self.inputs[which]
        said = [self.spec, self.layers, self.width, self.made.identity, one.first_text, one.identity]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:8]

    def differences(self, other: Manifest, *, inputs: bool = True) -> list[str]:
        """What was asked for or used in `other` and not here, that may change a number; empty where nothing was."""
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in ("layers", "width", "store")}
        pairs = {"spec": (_without(self.spec, other.spec), _without(other.spec, self.spec)), **pairs}
        differing = [f"{name} was {old} and is {new}" for name, (old, new) in pairs.items() if old != new]
        differing += self.made.differences(other.made)
        if inputs and [one.identity for one in self.inputs] != [one.identity for one in other.inputs]:
            differing.append(f"the input was {self.input_names} and is {other.input_names}")
        return differing

    def json(self) -> dict[str, Any]:
        """As it stands in the file."""
        return sealed(FORMAT, VERSION, asdict(self))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest of a dataset, whole."""
    text = json.dumps(manifest.json(), indent=1, ensure_ascii=False)  # ends with what it needs, so that no cut is valid
    # The name of a file may be no UTF-8: what stands for its bytes is written as JSON's escapes.
    write_bytes(folder / FILE, text.encode(errors="backslashreplace"))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a dataset. Raises DatasetError where there is none, or it is damaged or of a newer version."""
    path = folder / FILE
    try:
        found = unsealed(path, FORMAT, VERSION, other="not a manifest of Lamina", error=DatasetError)
    except FileNotFoundError:
        inside = sorted(path.parent.name for path in folder.glob(f"*/{FILE}"))
        several = f"; it holds several: {', '.join(inside)}" if inside else ""
        raise DatasetError(f"{folder} is no dataset: it has no {FILE}{several}") from None
    except NotADirectoryError:
        raise DatasetError(f"{folder} is a file; a dataset is a folder") from None
    try:
        return _parsed(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{path} is damaged: {error!r}") from None


def _without(spec: str, other: str) -> str:
    """The words of a Spec that another does not say: all thirteen of both hide the one that differs."""
    return " ".join(word for word in spec.split() if word not in other.split())


def _parsed(found: dict[str, Any]) -> Manifest:
    check_kinds(found)
    shards = tuple(Shard(**shard) for shard in found["shards"])
    inputs = tuple(Input(**one) for one in found["inputs"])
    values = {name: value for name, value in found.items() if name not in ("format", "format_version")}
    values |= {name: tuple(found[name]) for name in ("layers", "travelled")}
    manifest = Manifest(**{**values, "shards": shards, "inputs": inputs, "made": Made(**found["made"])})
    Spec.parse(manifest.spec)
    if sum(shard.n_rows for shard in shards) != manifest.n_rows:
        raise ValueError(f"{manifest.n_rows} rows, but {sum(shard.n_rows for shard in shards)} in the shards")
    if sum(shard.n_texts for shard in shards) != manifest.n_texts:
        raise ValueError(f"{manifest.n_texts} texts, but {sum(shard.n_texts for shard in shards)} in the shards")
    return manifest
