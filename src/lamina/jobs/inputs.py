"""The inputs of a job: which file one is, whether it is still the same, and where one that is recorded lies now."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from lamina.dataset.manifest import Input
from lamina.errors import DatasetError, SourceError, SpecError
from lamina.text.lines import STDIN
from lamina.text.source import SUFFIXES, Rows, Source, rows_of
from lamina.text.text import OnError, Text

Texts = Source | Iterable[str | Text]


@dataclass(frozen=True, slots=True)
class Given:
    """What a job reads, and what a manifest says of it."""

    texts: Texts
    described: Input
    state: tuple[int, int] | None  # the file's size and time of change, when it was hashed

    def check_unchanged(self) -> None:
        """Raise SourceError where the file is another one than was hashed."""
        if isinstance(self.texts, Source) and self.state is not None and _state(Path(self.texts.path)) != self.state:
            raise SourceError(
                f"{self.texts.path} was changed while it was read, so what was made of it stays unfinished: once the "
                "file is as it should be, give the command again, and it says how to begin anew"
            )


def given(texts: Texts) -> Given:
    """What is read, described: a file by its size, its sha256 and how it is read. What cannot be read again is not."""
    if not isinstance(texts, Source) or not texts.can_be_read_twice:
        return Given(texts, Input(0), None)
    path = Path(texts.path)
    try:
        state = _state(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return Given(texts, Input(0), None)  # who reads it will say why it cannot be read
    return Given(texts, Input(0, path.name, state[0], digest, _read_as(texts)), state)


def found_again(one: Input, known: Sequence[Given], *, folder: Path) -> Given:
    """An input that a dataset records, as it lies here: among those known, in this folder, or beside the dataset's or
    that of all tables of its pass.

    Raises DatasetError where it was no file, or is not found.
    """
    if one.sha256 is None or one.name is None:
        raise DatasetError("the texts came from no file that can be read again: extract them anew")
    for here in known:
        if here.described.sha256 == one.sha256 and isinstance(here.texts, Source):
            return replace(here, texts=_source(here.texts.path, one.read_as or {}), described=one)
    for path in (above / one.name for above in (Path(), folder.parent, folder.parent.parent)):
        if path.is_file():
            here = given(_source(path, one.read_as or {}))
            if here.described.sha256 == one.sha256:
                return replace(here, described=one)
    raise DatasetError(
        f"the input {one.name} ({one.n_bytes:,} bytes, sha256 {one.sha256[:12]}…) is not here, nor beside {folder}, as "
        "it was then: put it there (`lamina verify --repair` also takes it by --source FILE)"
    )


def rows_in(texts: Texts, *, on_error: OnError = "stop") -> Iterator[Rows]:
    """The rows of an input. What can be read again is begun: if it cannot be read at all, that is said now."""
    if not isinstance(texts, Source):
        return rows_of(texts, on_error=on_error)
    rows = texts.rows(on_error=on_error)
    return chain(list(islice(rows, 1)), rows) if texts.can_be_read_twice else rows


def twice(texts: Texts) -> Texts:
    """The same texts, so that they can be read twice. Raises SpecError where they cannot."""
    if isinstance(texts, Source):
        if not texts.can_be_read_twice:
            raise SpecError(f"pool 'idf' reads the input twice, which {texts.path} cannot give: put it in a file")
        return texts
    rows_of(texts)  # says it where they are one string
    return list(texts)


def check_apart(texts: Texts, out: Path) -> None:
    """Raise DatasetError where the input lies in the folder that is written."""
    if isinstance(texts, Source) and texts.path != STDIN and Path(texts.path).resolve().is_relative_to(out.resolve()):
        raise DatasetError(f"{texts.path} lies in {out}, which would be overwritten: give another folder")


def _read_as(source: Source) -> dict[str, Any]:
    """All that says how a file is read, as JSON holds it, with the format that follows from its name."""
    values = {field.name: getattr(source, field.name) for field in fields(source) if field.name != "path"}
    values["format"] = source.format or SUFFIXES.get(Path(source.path).suffix.lower())
    read: dict[str, Any] = json.loads(json.dumps(values))
    return read


def _source(path: str | Path, read_as: Mapping[str, Any]) -> Source:
    """Raises DatasetError where it was read in a way that this Lamina knows nothing of."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in read_as.items()
    }
    try:
        return Source(str(path), **values)
    except TypeError as error:
        raise DatasetError(f"{path} was read by a newer Lamina: {error}") from None


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns
