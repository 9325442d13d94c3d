"""What a job is said to take is near what it then takes, and what is too large is said before."""

from __future__ import annotations

import random
from collections import namedtuple
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

import lamina
from lamina.engine.batch import Batch, Engine, Program, Reduced
from lamina.extraction.extractor import Extractor
from lamina.jobs import estimate as estimate_module
from lamina.jobs import survey as survey_module
from lamina.jobs.estimate import Estimate, Table, estimate, may_be_large, warning
from lamina.jobs.local import run
from lamina.jobs.survey import survey
from lamina.spec import Spec
from lamina.text.source import Source, rows_of
from lamina.text.text import Text
from tests.samples import SCRIPTS

Usage = namedtuple("Usage", "total used free")
WORDS = ("the", "river", "bank", "raised", "its", "rates", "while", "old", "boats", "drift", "past", "every", "harbour")


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Texts whose lengths differ by a factor of a hundred."""
    rng = random.Random(3)
    path = tmp_path / "in.txt"
    sizes = [int(rng.lognormvariate(2.5, 1)) + 1 for _ in range(3000)]
    path.write_text("".join(" ".join(rng.choice(WORDS) for _ in range(n)) + ".\n" for n in sizes))
    return Source(str(path))


@pytest.mark.parametrize("unit", ["text", "sentence", "word", "token"])
def test_rows_tokens_and_bytes_are_near_what_comes(
    tiny: Extractor, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: Any
) -> None:
    monkeypatch.setattr(survey_module, "N_TEXTS", 300)  # of 3,000
    specs = {"": Spec(layers="0,1", unit=unit)}
    found = survey(source.rows())
    assert len(found.sample) < 800
    said = estimate(found, tiny, specs, timed=False)
    manifest = run(source, tmp_path / "d", tiny, specs)[""].manifest
    assert said.n_texts == manifest.n_texts
    (table,) = said.tables
    assert table.n_rows == pytest.approx(manifest.n_rows, rel=0.05)
    assert said.rows_a_unit[unit] == pytest.approx(manifest.n_rows, rel=0.05)
    assert table.bytes_a_column == table.n_rows * 8 * 2
    on_disk = sum(shard.n_bytes for shard in manifest.shards)
    assert said.n_bytes == pytest.approx(on_disk, rel=0.25)  # the units table of so few rows hardly compresses
    n_tokens = len(tiny.extract([text for rows in source.rows() for text in rows.texts], layers=0, unit="token"))
    assert said.n_tokens == pytest.approx(n_tokens, rel=0.05)


def test_a_survey_counts_everything_and_holds_an_even_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey_module, "N_TEXTS", 50)
    found = survey(rows_of(f"text {i}" for i in range(5000)))
    assert (found.n_texts, found.longest) == (5000, 9)
    assert found.n_characters == sum(len(f"text {i}") for i in range(5000))
    numbers = [int(text.text.split()[1]) for text in found.sample]
    assert 50 <= len(numbers) <= 100
    assert len({b - a for a, b in pairwise(numbers)}) == 1


def test_a_survey_of_few_long_texts_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey_module, "N_CHARACTERS", 50_000)
    found = survey(rows_of(["x" * 300_000, *["y" * 20_000] * 20]))
    assert (found.n_texts, found.n_characters, found.longest) == (21, 700_000, 300_000)
    assert found.sampled_characters <= 100_000
    assert all(len(text.text) <= survey_module.LONGEST for text in found.sample)


@pytest.mark.parametrize("texts", [[], ["", "\u200b"], ["one"], list(SCRIPTS.values())])
def test_nothing_little_and_every_script_can_be_planned(tiny: Extractor, texts: list[str]) -> None:
    said = lamina.plan(texts, model=tiny, unit="word")
    assert said.n_texts == len(texts)
    assert said.tables[0].n_rows == len(tiny.extract(texts, unit="word", layers=0))
    assert said.seconds is not None
    assert 0 <= said.seconds < 60


def test_pairs_spans_recipes_and_sentence_pools_can_be_planned(deep: Extractor) -> None:
    texts = [Text("The river bank.", spans=((4, 9),)), Text("Two spans.", spans=((0, 3), (4, 9)))] * 20
    specs = {"spans": Spec(unit="span"), "texts": Spec(layers="-4..-1", combine="mean"), "rare": Spec(pool="idf")}
    said = estimate(survey(rows_of(texts)), deep, specs)
    assert [(one.name, one.n_rows, one.n_columns) for one in said.tables] == [
        ("spans", 60, 13), ("texts", 40, 1), ("rare", 40, 13),
    ]  # fmt: skip
    pairs = [Text("Where?", pair="By the river.")] * 5
    assert estimate(survey(rows_of(pairs)), deep, {"": Spec(unit="pair")}).tables[0].n_rows == 5


class Steady:
    """An engine that takes a microsecond for each token, by a clock of its own."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.now = engine, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def perf_counter(self) -> float:
        return self.now

    def run(self, program: Program, batches: Iterable[Batch]) -> Iterator[Reduced]:
        for batch in batches:
            self.now += 1e-6 * batch.ids.size
            yield from self.engine.run(program, [batch])


def test_the_time_is_that_of_all_tokens(deep: Extractor, monkeypatch: pytest.MonkeyPatch) -> None:
    steady = Steady(deep.engine)
    monkeypatch.setattr(estimate_module, "time", steady)
    texts = [f"the river bank number {i} " * 4 for i in range(4000)]
    for n in (200, 4000):
        made = lamina.plan(texts[:n], model=replace(deep, engine=cast("Engine", steady)))
        assert made.seconds == pytest.approx(1e-6 * made.n_tokens, rel=0.2)  # and of their padding


def _large(**spec: Any) -> Estimate:
    """A billion tokens in every layer of a base model."""
    asked = Spec(unit="token", **spec)
    table = Table("", asked, 10**9, 13, 768, 10**9 * 768 * (4 if asked.dtype == "float32" else 2), 10**10)
    rows = {"text": 10**7, "sentence": 5 * 10**7, "word": 8 * 10**8, "token": 10**9}
    return Estimate(10**7, 4 * 10**9, 10**9, 1000, 2000, (table,), rows, None, 10**9)


def test_what_does_not_fit_is_said_with_what_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**15, 0, 5 * 10**12))
    said = warning(_large(dtype="float32"), tmp_path / "not" / "yet" / "there")
    assert said is not None
    assert said.startswith("this takes about 39,946.0 GB on disk, and 5,000.0 GB are free where ")
    for way in ("dtype=float16: 19,978.0 GB", "layers=-4..-1: 6,154.0 GB", "combine=mean", "unit=word: 15,984.4 GB"):
        assert way in said
    assert "dtype=float16" not in (warning(_large(), tmp_path) or "")


def test_what_fits_is_not_warned_of_and_a_small_disk_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Extractor
) -> None:
    small = estimate(survey(rows_of(["a door"] * 1000)), tiny, {"": Spec()}, timed=False)
    assert warning(small, tmp_path) is None
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**15, 0, small.n_bytes))
    assert warning(small, tmp_path) is not None


def test_only_what_may_be_large_is_estimated_unasked(tiny: Extractor) -> None:
    plan = tiny.plan({"": Spec(unit="token")})
    found = survey(rows_of(["a door"] * 10))
    assert not may_be_large(found, plan)
    assert may_be_large(survey_module.Survey(10**6, 10**9, 100, found.sample), plan)


@pytest.mark.parametrize("kind", ["words", "spans"])
def test_words_and_spans_of_a_very_long_text_are_counted(kind: str) -> None:
    longest = survey_module.LONGEST
    ranges = tuple((start, start + 9) for start in range(0, 2 * longest, 10))
    found = survey(rows_of([Text("a" * 2 * longest, **{kind: ranges})]))
    assert getattr(found.sample[0], kind) == ranges[: longest // 10]
