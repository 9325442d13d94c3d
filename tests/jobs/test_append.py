"""Texts that come to a finished dataset: as if they had always been there, and it is readable all the while."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import lamina
from lamina.dataset.folder import NEXT
from lamina.dataset.verify import verify
from lamina.errors import DatasetError, SpecError
from lamina.extraction.extractor import Extractor
from lamina.jobs.local import run
from lamina.jobs.repair import repair
from lamina.text.source import Source
from tests.dataset.making import files_in
from tests.jobs.conftest import TEXTS

MORE = ["Seven boats came home.", "", "rain " * 30, "The kettle sings long before the water boils."]


def write_csv(path: Path, texts: list[str], *, column: str = "review", other: str = "id") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([other, column])
        writer.writerows([f"{path.stem}{i}", text] for i, text in enumerate(texts))
    return path


@pytest.fixture
def more(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "more.csv", MORE)


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "reviews.csv", TEXTS)


@pytest.fixture
def dataset(tiny: Extractor, reviews: Path, tmp_path: Path) -> Path:
    lamina.extract(reviews, tmp_path / "d", model=tiny, text="review", unit="word")
    return tmp_path / "d"


def append(tiny: Extractor, source: object, folder: Path, **options: object) -> lamina.Dataset:
    return lamina.extract(source, folder, model=tiny, unit="word", append=True, **options)  # type: ignore[arg-type]


def test_the_rows_are_those_of_one_job_over_all_texts(
    tiny: Extractor, dataset: Path, more: Path, tmp_path: Path
) -> None:
    found = append(tiny, more, dataset, text="review")
    together = write_csv(tmp_path / "together.csv", TEXTS + MORE)
    expected = lamina.extract(together, tmp_path / "whole", model=tiny, text="review", unit="word")
    assert found.units.drop_columns("id").equals(expected.units.drop_columns("id"))
    for layer in expected.layers:
        np.testing.assert_array_equal(found.layer(layer), expected.layer(layer))
    assert found.units.column("text_id").to_pylist()[-1] == len(TEXTS) + len(MORE) - 1
    assert {found.units.column("id")[0].as_py(), found.units.column("id")[-1].as_py()} == {"reviews0", "more3"}
    for name in ("n_texts", "n_rows", "n_tokens", "statuses"):
        assert getattr(found.manifest, name) == getattr(expected.manifest, name)
    assert verify(dataset) == []


def test_the_manifest_lists_the_inputs_in_order(tiny: Extractor, dataset: Path, more: Path, reviews: Path) -> None:
    append(tiny, more, dataset, text="review")
    assert [(one.name, one.first_text) for one in lamina.open(dataset).manifest.inputs] == [
        ("reviews.csv", 0),
        ("more.csv", len(TEXTS)),
    ]
    assert sorted(path.name for path in dataset.iterdir()) == ["manifest.json", "shards"]


def test_the_shards_that_are_there_are_not_touched(tiny: Extractor, dataset: Path, more: Path) -> None:
    (shard,) = (dataset / "shards").iterdir()
    before = shard.stat().st_mtime_ns, shard.stat().st_ino
    append(tiny, more, dataset, text="review")
    assert (shard.stat().st_mtime_ns, shard.stat().st_ino) == before


def test_the_same_texts_are_not_appended_twice(tiny: Extractor, dataset: Path, more: Path, reviews: Path) -> None:
    append(tiny, more, dataset, text="review")
    before = files_in(dataset)
    for again in (more, reviews, Path(shutil.copy(more, more.with_name("renamed.csv")))):
        append(tiny, again, dataset, text="review")
        assert files_in(dataset) == before


def test_an_iterable_can_be_appended_and_what_comes_after_it_too(tiny: Extractor, dataset: Path, more: Path) -> None:
    units = lamina.open(dataset).units
    options = {"keep": ()}
    folder = dataset.with_name("bare")
    lamina.extract(list(TEXTS), folder, model=tiny, unit="word")
    append(tiny, iter(MORE), folder)
    append(tiny, more, folder, text="review", **options)
    found = lamina.open(folder)
    assert found.manifest.n_texts == len(TEXTS) + 2 * len(MORE)
    assert found.units.slice(0, len(units)).equals(units.drop_columns("id"))
    assert [one.name for one in found.manifest.inputs] == [None, None, "more.csv"]


def test_several_tables_are_appended_to_in_one_pass(tiny: Extractor, reviews: Path, more: Path, tmp_path: Path) -> None:
    specs = {"texts": lamina.Spec(), "words": lamina.Spec(unit="word")}
    run(Source(str(reviews), text="review"), tmp_path / "d", tiny, specs)
    both = run(Source(str(more), text="review"), tmp_path / "d", tiny, specs, append=True)
    assert {name: one.manifest.n_texts for name, one in both.items()} == dict.fromkeys(specs, len(TEXTS) + len(MORE))
    write_csv(more, ["one more"])
    run(Source(str(more), text="review"), tmp_path / "d" / "texts", tiny, {"": lamina.Spec()}, append=True)
    write_csv(more, ["and one more"])
    with pytest.raises(DatasetError, match="different texts"):
        run(Source(str(more), text="review"), tmp_path / "d", tiny, specs, append=True)


def test_an_empty_file_appends_nothing(tiny: Extractor, dataset: Path, tmp_path: Path) -> None:
    before = lamina.open(dataset).units
    empty = write_csv(tmp_path / "empty.csv", [])
    found = append(tiny, empty, dataset, text="review")
    assert found.units.equals(before)
    assert verify(dataset) == []


def test_what_comes_to_a_dataset_without_texts_brings_its_columns(tiny: Extractor, more: Path, tmp_path: Path) -> None:
    """Other readers take the columns of the first shard for those of all."""
    empty = write_csv(tmp_path / "empty.csv", [])
    lamina.extract(empty, tmp_path / "d", model=tiny, text="review", unit="word")
    found = append(tiny, more, tmp_path / "d", text="review")
    assert pq.read_table(tmp_path / "d" / "shards").column("id").to_pylist() == found.units.column("id").to_pylist()
    before = files_in(tmp_path / "d")
    for shard in (tmp_path / "d" / "shards").iterdir():
        shard.write_bytes(b"damaged")
    assert repair(tmp_path / "d", model=tiny) == []
    assert files_in(tmp_path / "d") == before


def test_a_dataset_of_no_text_and_no_file_keeps_its_shard(tiny: Extractor, tmp_path: Path) -> None:
    """The next one's name would be its own."""
    lamina.extract([], tmp_path / "d", model=tiny, unit="word")
    assert append(tiny, MORE, tmp_path / "d").manifest.n_texts == len(MORE)
    assert verify(tmp_path / "d") == []


def test_a_transform_fitted_before_is_refused_after(tiny: Extractor, dataset: Path, more: Path) -> None:
    lamina.open(dataset).fit_transform("white")
    found = append(tiny, more, dataset, text="review")
    with pytest.raises(DatasetError, match="fit it again"):
        found.layer(1, transform="white")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"unit": "text"}, r"another job \(spec was unit=word and is unit=text\)"),
        ({"layers": "1"}, "another job .*spec was"),
        ({"dtype": "float32"}, "another job .*spec was"),
    ],
)
def test_another_job_is_refused_with_the_difference(
    tiny: Extractor, dataset: Path, more: Path, options: dict[str, str], match: str
) -> None:
    before = files_in(dataset)
    with pytest.raises(DatasetError, match=match):
        lamina.extract(more, dataset, model=tiny, text="review", append=True, **{"unit": "word", **options})  # type: ignore[arg-type]
    assert files_in(dataset) == before


def test_another_model_is_refused_with_its_hash(deep: Extractor, dataset: Path, more: Path) -> None:
    with pytest.raises(DatasetError, match="weights_sha256 was"):
        append(deep, more, dataset, text="review")


def test_other_columns_are_refused_and_nothing_is_appended(tiny: Extractor, dataset: Path, tmp_path: Path) -> None:
    before = lamina.open(dataset).units
    with pytest.raises(DatasetError, match=r"column 'id' is string .* and not there in what comes to it"):
        append(tiny, write_csv(tmp_path / "x.csv", MORE, other="number"), dataset, text="review")
    assert lamina.open(dataset).units.equals(before)


def test_a_change_that_made_nothing_keeps_none_out(tiny: Extractor, dataset: Path, more: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not there in what comes to it"):
        append(tiny, write_csv(tmp_path / "x.csv", MORE, other="number"), dataset, text="review")
    assert append(tiny, more, dataset, text="review").manifest.n_texts == len(TEXTS) + len(MORE)
    assert not (dataset / NEXT).exists()
    assert verify(dataset) == []


def test_texts_whose_columns_have_another_kind_are_refused(tiny: Extractor, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a door", "n": 1}\n')
    (tmp_path / "b.jsonl").write_text('{"text": "a key", "n": 1.5}\n')
    lamina.extract(tmp_path / "a.jsonl", tmp_path / "d", model=tiny, unit="word")
    with pytest.raises(DatasetError, match=r"column 'n' is int64 .* and double"):
        append(tiny, tmp_path / "b.jsonl", tmp_path / "d")


def test_idf_cannot_grow(tiny: Extractor, reviews: Path, more: Path, tmp_path: Path) -> None:
    options = {"model": tiny, "text": "review", "pool": "idf"}
    lamina.extract(reviews, tmp_path / "d", **options)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=r"weighs by the texts that .* holds"):
        lamina.extract(more, tmp_path / "d", append=True, **options)  # type: ignore[arg-type]


def test_there_must_be_a_finished_dataset(tiny: Extractor, more: Path, dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is no dataset"):
        append(tiny, more, tmp_path / "nowhere", text="review")
    with pytest.raises(SpecError, match="overwrite and append exclude each other"):
        append(tiny, more, dataset, text="review", overwrite=True)


def test_an_unfinished_change_keeps_another_one_out_until_it_is_given_up(
    tiny: Extractor, dataset: Path, more: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = lamina.open(dataset).units
    with monkeypatch.context() as broken:
        broken.setattr("lamina.jobs.target.commit_next", _fails)
        with pytest.raises(KeyboardInterrupt):
            append(tiny, more, dataset, text="review")
    assert (dataset / NEXT).is_dir()
    assert lamina.open(dataset).units.equals(before)
    other = write_csv(tmp_path / "other.csv", ["something else"])
    with pytest.raises(DatasetError, match=r"give that job's command again to finish it, or remove the folder"):
        append(tiny, other, dataset, text="review")
    append(tiny, more, dataset, text="review")
    assert not (dataset / NEXT).exists()
    append(tiny, other, dataset, text="review")
    assert lamina.open(dataset).manifest.n_texts == len(TEXTS) + len(MORE) + 1


def _fails(folder: Path) -> None:
    raise KeyboardInterrupt
