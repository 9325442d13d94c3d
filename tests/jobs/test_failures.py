"""A job that fails says why, leaves a dataset that calls itself unfinished, and harms nothing that was there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import lamina
from lamina.errors import CheckpointError, DatasetError, SourceError, SpecError, TextError
from lamina.extraction.extractor import Extractor
from tests.dataset.making import files_in

CHUNK = 8192  # texts: by then the writer has been given something


@pytest.fixture
def old(minilm: Extractor, tmp_path: Path) -> Path:
    """A dataset that is there already."""
    lamina.extract(["a door", "a key"], tmp_path / "old", model=minilm, layers=0)
    return tmp_path / "old"


def test_a_source_that_breaks_midway_leaves_an_unfinished_dataset(minilm: Extractor, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "a door"}\n' * (2 * CHUNK) + "{broken\n")
    with pytest.raises(SourceError, match=rf"in\.jsonl, line {2 * CHUNK + 1} "):
        lamina.extract(path, tmp_path / "d", model=minilm, layers=0)
    with pytest.raises(DatasetError, match="unfinished"):
        lamina.open(tmp_path / "d")
    assert not list((tmp_path / "d").rglob("*.partial"))
    path.write_text('{"text": "a door"}\n')
    assert len(lamina.extract(path, tmp_path / "d", model=minilm, layers=0, overwrite=True)) == 1


def test_an_iterators_own_error_comes_through_as_it_is(minilm: Extractor, tmp_path: Path) -> None:
    def texts() -> Iterator[str]:
        yield from ["a door"] * (CHUNK + 1)
        raise ZeroDivisionError("in the caller's own code")

    with pytest.raises(ZeroDivisionError, match="own code"):
        lamina.extract(texts(), tmp_path / "d", model=minilm, layers=0)
    with pytest.raises(DatasetError, match="unfinished"):
        lamina.open(tmp_path / "d")


def test_an_item_that_is_no_string_is_named_by_its_row(minilm: Extractor, tmp_path: Path) -> None:
    for item, kind in ((None, "null"), (7, "int"), (b"bytes", "bytes")):
        with pytest.raises(SourceError, match=f"row 2 .*{kind}"):
            lamina.extract(["a", "b", item], tmp_path / "d", model=minilm, layers=0, overwrite=True)  # type: ignore[list-item]


@pytest.mark.parametrize("before", [["a", "b"], ["a", "a"], ["a", "a", "a", "b", "a"]])
def test_a_text_that_is_no_unicode_is_named_by_its_row(minilm: Extractor, tmp_path: Path, before: list[str]) -> None:
    with pytest.raises(TextError, match=f"text {len(before)} .*U\\+D83D") as caught:
        lamina.extract([*before, "half \ud83d of it"], tmp_path / "d", model=minilm, layers=0)
    assert caught.value.row == len(before)


def test_a_text_that_is_too_long_is_named_by_its_row(minilm: Extractor, tmp_path: Path) -> None:
    with pytest.raises(TextError, match="text 3 ") as caught:
        lamina.extract(["a", "a", "a", "b " * 30], tmp_path / "d", model=minilm, long="error", max_tokens=16)
    assert caught.value.row == 3


def test_what_contradicts_the_model_touches_nothing(minilm: Extractor, tmp_path: Path, old: Path) -> None:
    before = files_in(tmp_path)
    for options in ({"layers": "7"}, {"combine": "1,2"}, {"max_tokens": 1000}, {"unit": "paragraph"}):
        for out in (old, tmp_path / "new"):
            with pytest.raises(SpecError):
                lamina.extract(["a"], out, model=minilm, overwrite=True, **options)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError):
        lamina.extract(["a"], old, model=tmp_path / "no model", overwrite=True)
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("options", [{"source": "missing.csv"}, {"source": "in.csv", "text": "no such column"}])
def test_a_source_that_cannot_be_read_does_not_cost_the_old_dataset(
    minilm: Extractor, tmp_path: Path, old: Path, options: dict[str, str]
) -> None:
    (tmp_path / "in.csv").write_text("text\na door\n")
    before = files_in(old)
    source = tmp_path / options["source"]
    with pytest.raises(SourceError):
        lamina.extract(source, old, model=minilm, text=options.get("text"), overwrite=True)
    assert files_in(old) == before


def test_a_dataset_cannot_be_overwritten_by_what_is_read_from_it(minilm: Extractor, old: Path) -> None:
    before = files_in(old)
    with pytest.raises((SourceError, DatasetError)):
        lamina.extract(
            old / "shards" / "part-00000.parquet", old, model=minilm, text="surface", layers=0, overwrite=True
        )
    assert files_in(old) == before


def test_one_string_is_a_path_and_no_text(minilm: Extractor, tmp_path: Path) -> None:
    for text in ("A sentence, by mistake", "a long one " * 100):
        with pytest.raises(SourceError, match="if it is a text, put it in a list"):
            lamina.extract(text, tmp_path / "d", model=minilm)
    with pytest.raises(SourceError, match="put it in a list"):
        lamina.extract(b"bytes", tmp_path / "d2", model=minilm)  # type: ignore[arg-type]
