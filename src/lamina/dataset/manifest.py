"""The manifest: what a dataset holds and what made it. `manifest.json`, format version 1, described in docs/format.md.

A reader refuses a version that it does not know; it reads every older one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lamina.dataset.durable import write_whole
from lamina.embeddings import COMBINED, layer_column
from lamina.errors import DatasetError
from lamina.spec import Dtype, Spec

FORMAT = "lamina-dataset"
VERSION = 1
FILE = "manifest.json"
IDF = "idf.npy"  # in how many texts each token id occurs, int64 [V]
TRANSFORMS = "transforms"  # the folder of fitted transforms
SHARDS = "shards"  # the folder of shards: nothing else lies in it, so any Parquet reader opens it whole

_SHARD_NAME = re.compile(r"part-\d{5,}\.parquet", re.ASCII)


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of rows. `name` is a plain file name in the shards folder."""

    name: str
    n_rows: int
    n_bytes: int
    sha256: str


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


@dataclass(frozen=True, slots=True)
class Manifest:
    """A dataset's description.

    layers     numbers of the layers, in the order of their columns; where they are combined, what went into it.
    width      D of a vector column.
    travelled  the units table's columns that came along from the input.
    source     the file it was made from: its name, size and sha256; None where it was no file.
    idf        where the pool is `idf`: the number of texts it was fitted on, and the sha256 of idf.npy.
    statuses   how many rows have each status (ok, empty, dropped, cut).
    complete   False while it is being written, or where writing was interrupted.
    """

    spec: str
    layers: tuple[int, ...]
    width: int
    made: Made
    source: dict[str, Any] | None = None
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

    def differences(self, other: Manifest) -> list[str]:
        """What was asked for or used in `other` and not here, that may change a number; empty where nothing was."""
        pairs = {
            "spec": (self.spec, other.spec),
            "layers": (self.layers, other.layers),
            "width": (self.width, other.width),
            "source": (self.source, other.source),
        }
        mine, theirs = asdict(self.made), asdict(other.made)
        pairs |= {name: (mine[name], theirs[name]) for name in mine}
        return [f"{name} was {old} and is {new}" for name, (old, new) in pairs.items() if old != new]

    def json(self) -> dict[str, Any]:
        """As it stands in the file."""
        values = {"format": FORMAT, "format_version": VERSION, **asdict(self)}
        return {**values, "checksum": checksum(values)}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest of a dataset, whole."""
    text = json.dumps(manifest.json(), indent=1, ensure_ascii=False) + "\n"
    write_whole(folder / FILE, lambda file: _all(file.write(text.encode())))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a dataset. Raises DatasetError where there is none, or it is damaged or of a newer version."""
    path = folder / FILE
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DatasetError(f"{folder} is no dataset: it has no {FILE}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise DatasetError(f"{path} is not a manifest of Lamina")
    if found.get("format_version") != VERSION:
        raise DatasetError(
            f"{path} has format version {found.get('format_version')!r}, of which this Lamina knows nothing "
            f"(it reads version {VERSION}): use a newer one"
        )
    if found.pop("checksum", None) != checksum(found):
        raise DatasetError(f"{path} is damaged: its checksum is not that of its content")
    try:
        return _parsed(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{path} is damaged: {error!r}") from None


def checksum(values: dict[str, Any]) -> str:
    """The sha256 of the content, whatever the order of its keys and the white space between."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _parsed(found: dict[str, Any]) -> Manifest:
    for holder, kinds in (
        (found, _KINDS),
        (found["made"], _MADE_KINDS),
        *((shard, _SHARD_KINDS) for shard in found["shards"]),
    ):
        for name, is_kind in kinds.items():
            if not is_kind(holder[name]):
                raise ValueError(f"{name} is {str(holder[name])[:80]!r}")
    shards = tuple(Shard(**shard) for shard in found["shards"])
    values = {name: value for name, value in found.items() if name not in ("format", "format_version")}
    values |= {name: tuple(found[name]) for name in ("layers", "travelled")}
    manifest = Manifest(**{**values, "shards": shards, "made": Made(**found["made"])})
    Spec.parse(manifest.spec)
    if sum(shard.n_rows for shard in shards) != manifest.n_rows:
        raise ValueError(f"{manifest.n_rows} rows, but {sum(shard.n_rows for shard in shards)} in the shards")
    return manifest


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: object) -> bool:
    return value is None or isinstance(value, str)


def _list_of(is_kind: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(is_kind, value))


def _dict_of(is_kind: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(map(is_kind, value.values()))


# What each value of the file must be. A name that is lacking is a KeyError, one too many a TypeError of the dataclass.
_KINDS: dict[str, Callable[[object], bool]] = {
    "spec": _is_text,
    "layers": _list_of(_is_count),
    "width": lambda value: _is_count(value) and value != 0,
    "made": lambda value: isinstance(value, dict),
    "travelled": _list_of(_is_text),
    "idf": lambda value: value is None or isinstance(value, dict),
    "source": lambda value: value is None or isinstance(value, dict),
    "n_texts": _is_count,
    "n_rows": _is_count,
    "n_tokens": _is_count,
    "statuses": _dict_of(_is_count),
    "shards": _list_of(lambda value: isinstance(value, dict)),
    "complete": lambda value: isinstance(value, bool),
}
_MADE_KINDS: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(("model", "family", "weights_sha256", "tokenizer_sha256", "engine", "precision"), _is_text),
    "revision": _is_text_or_none,
    "recipe_sha256": _is_text_or_none,
    "versions": _dict_of(_is_text),
}
_SHARD_KINDS: dict[str, Callable[[object], bool]] = {
    "name": lambda value: isinstance(value, str) and _SHARD_NAME.fullmatch(value) is not None,
    "n_rows": _is_count,
    "n_bytes": _is_count,
    "sha256": _is_text,
}


def _all(_: int) -> None:
    """`file.write` returns a count that nobody needs."""
