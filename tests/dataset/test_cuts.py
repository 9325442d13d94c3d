"""Where a shard ends follows from the rows alone: after the text that fills it, however the rows come."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.dataset.folder import begin
from lamina.dataset.manifest import Manifest, Place, Shard, read_manifest
from lamina.dataset.reader import open_dataset
from lamina.dataset.writer import DatasetWriter
from lamina.embeddings import UNIT_FIELDS, Embeddings
from lamina.errors import DatasetError
from lamina.spec import Spec
from tests.dataset.making import MADE, assert_same_files, embeddings, manifest, write
from tests.jobs.disks import Disk, used

A_ROW = 8  # bytes: two float32 numbers
TEXTS = st.lists(st.integers(0, 9), max_size=12)  # rows of each text
Rows = list[tuple[int, int]]  # of each: its text, its tokens


def _manifest() -> Manifest:
    return Manifest(str(Spec(layers="0", unit="word", dtype="float32")), (0,), 2, MADE)


def _part(rows: Rows, first: int, n_texts: int) -> Embeddings:
    """Some rows, of which row `first` of the whole is the first."""
    n = len(rows)
    values = {
        "text_id": [text for text, _ in rows],
        "surface": [f"row {first + i}" for i in range(n)],
        "start": range(first, first + n),
        "end": range(first, first + n),
        "special": [False] * n,
        "n_tokens": [tokens for _, tokens in rows],
        "n_windows": [1] * n,
        "status": ["ok"] * n,
    }
    units = pa.table({name: pa.array(values.get(name, [None] * n), kind) for name, kind in UNIT_FIELDS.items()})
    return Embeddings(
        units, {"layer_0": np.arange(2 * first, 2 * (first + n), dtype=np.float32).reshape(n, 2)}, n_texts
    )


def _parts(sizes: list[int], cuts: list[int]) -> list[Embeddings]:
    """The rows of texts of the sizes given, each of i % 4 tokens, cut anywhere; a text ends with its last row."""
    rows = [(text, (text + i) % 4) for text, size in enumerate(sizes) for i in range(size)]
    ends = np.cumsum(sizes)
    bounds = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    parts, ended = [], 0
    for low, high in zip(bounds, [*bounds[1:], len(rows)], strict=True):
        now = len(sizes) if high == len(rows) else int((ends <= high).sum())
        parts.append(_part(rows[low:high], low, now - ended))
        ended = now
    return parts


def _obvious(sizes: list[int], *, full_rows: int, full_tokens: int) -> list[tuple[int, int, int]]:
    """The slow twin, row by row: rows, texts that end, and open rows of each shard."""
    shards: list[tuple[int, int, int]] = []
    n_rows = n_tokens = n_open = n_texts = 0
    for text, size in enumerate(sizes):
        for i in range(size):
            n_rows, n_tokens, n_open = n_rows + 1, n_tokens + (text + i) % 4, n_open + 1
            if n_rows == 2 * full_rows and i + 1 < size:
                shards.append((n_rows, n_texts, n_open))
                n_rows = n_tokens = n_open = n_texts = 0
        n_texts, n_open = n_texts + 1, 0
        if size and (n_rows >= full_rows or n_tokens >= full_tokens):
            shards.append((n_rows, n_texts, 0))
            n_rows = n_tokens = n_texts = 0
    if n_rows or n_texts or not shards:
        shards.append((n_rows, n_texts, 0))
    return shards


def _written(folder: Path, parts: list[Embeddings], full_rows: int, full_tokens: int) -> tuple[Shard, ...]:
    begin(folder, _manifest())
    with DatasetWriter(folder, _manifest(), shard_bytes=full_rows * A_ROW, shard_tokens=full_tokens) as writer:
        for part in parts:
            writer.add(part)
    return read_manifest(folder).shards


@settings(max_examples=60, deadline=None)
@given(sizes=TEXTS, cuts=st.lists(st.integers(0, 40)), full_rows=st.integers(1, 12), full_tokens=st.integers(1, 40))
def test_shards_end_where_the_rows_say_however_they_come(
    sizes: list[int], cuts: list[int], full_rows: int, full_tokens: int
) -> None:
    with TemporaryDirectory() as name, used(Disk(Path(name))):
        folder = Path(name)
        shards = _written(folder / "cut", _parts(sizes, cuts), full_rows, full_tokens)
        found = [(shard.n_rows, shard.n_texts, shard.n_open) for shard in shards]
        assert found == _obvious(sizes, full_rows=full_rows, full_tokens=full_tokens)
        _written(folder / "whole", _parts(sizes, []), full_rows, full_tokens)
        assert_same_files(folder / "cut", folder / "whole")
        dataset = open_dataset(folder / "cut")
        assert dataset.units.column("surface").to_pylist() == [f"row {i}" for i in range(sum(sizes))]
        assert dataset.layer(0).ravel().tolist() == list(range(2 * sum(sizes)))
        assert dataset.manifest.n_texts == len(sizes)


@settings(max_examples=30, deadline=None)
@given(sizes=TEXTS, full_rows=st.integers(1, 6), data=st.data())
def test_places_say_where_each_shard_begins(sizes: list[int], full_rows: int, data: st.DataObject) -> None:
    """Gone on with from any of them, the result is the same."""
    with TemporaryDirectory() as name, used(Disk(Path(name))):
        folder = Path(name)
        shards = _written(folder / "whole", _parts(sizes, []), full_rows, 1000)
        places = read_manifest(folder / "whole").places
        first_rows = np.concatenate(([0], np.cumsum([shard.n_rows for shard in shards])))
        starts = np.concatenate(([0], np.cumsum(sizes)))
        for place, row in zip(places, first_rows, strict=True):
            assert starts[place.text] + place.row == row
        k = data.draw(st.integers(0, len(shards)))
        begin(folder / "again", _manifest())
        half = Manifest(**{**_fields(read_manifest(folder / "whole")), **_counted(folder / "whole", k)})
        for shard in half.shards:
            (folder / "again" / "shards" / shard.name).write_bytes(
                (folder / "whole" / "shards" / shard.name).read_bytes()
            )
        rows = [(text, (text + i) % 4) for text, size in enumerate(sizes) for i in range(size)]
        with DatasetWriter(folder / "again", half, shard_bytes=full_rows * A_ROW, shard_tokens=1000) as writer:
            assert writer.place == places[k]
            low = int(first_rows[k])
            writer.add(_part(rows[low:], low, len(sizes) - places[k].text))
        assert_same_files(folder / "again", folder / "whole")


def _fields(found: Manifest) -> dict[str, object]:
    return {name: getattr(found, name) for name in found.__dataclass_fields__}


def _counted(folder: Path, k: int) -> dict[str, object]:
    """The counts of a dataset's first k shards."""
    found = read_manifest(folder)
    shards = found.shards[:k]
    n_rows = sum(shard.n_rows for shard in shards)
    tokens = open_dataset(folder).units.column("n_tokens").to_pylist()[:n_rows]
    return {
        "shards": shards, "n_rows": n_rows, "n_texts": sum(shard.n_texts for shard in shards), "n_tokens": sum(tokens),
        "statuses": {"ok": n_rows} if n_rows else {}, "complete": False,
    }  # fmt: skip


def test_a_places_row_adds_up_over_shards_of_one_text() -> None:
    counts = [(4, 1, 2), (4, 0, 4), (4, 0, 4), (4, 2, 1)]
    shards = tuple(Shard("part-00000-01234567.parquet", n, 1, "", n_texts, n_open) for n, n_texts, n_open in counts)
    described = Manifest(str(Spec()), (0,), 2, MADE, shards=shards)
    assert described.places == (Place(0), Place(1, 2), Place(1, 6), Place(1, 10), Place(3, 1))


@pytest.mark.parametrize(
    ("part", "why"),
    [
        (embeddings(2, first=1), "a text is missing"),
        (embeddings(2, first=3), "texts are missing"),
        (_part([(2, 1), (2, 1), (4, 1)], 0, 2), "a text of none"),
        (_part([(3, 1), (2, 1)], 0, 2), "not in order"),
        (_part([(2, 1), (3, 1), (4, 1), (5, 1)], 0, 2), "more than were said"),
    ],
)
def test_rows_that_are_not_those_of_the_next_texts_are_never_committed(
    tmp_path: Path, part: Embeddings, why: str
) -> None:
    columns = {name: embeddings(len(part)).columns[name] for name in embeddings(0).columns}
    with pytest.raises(DatasetError, match=r"texts .* came where texts 2 to .* were due"):
        write(tmp_path / "d", [embeddings(2), Embeddings(part.units, columns, part.n_texts)], described=manifest())
    assert read_manifest(tmp_path / "d").n_texts == 0
