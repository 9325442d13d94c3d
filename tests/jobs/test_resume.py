"""Proves that an interrupted job goes on where it was, and that its result is that of a job never interrupted, byte for
byte: whichever write it was interrupted at, in one table or in several."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import lamina
from lamina.dataset import durable
from lamina.extraction import regroup
from lamina.extraction.extractor import Done, Extractor
from lamina.jobs.local import run
from lamina.text.source import Source
from tests.dataset.making import assert_same_files, files_in
from tests.samples import SCRIPTS

N_TEXTS = 40
SPECS = {"texts": lamina.Spec(layers="0,1"), "words": lamina.Spec(unit="word", layers="1", dtype="float32")}
ONE = {"": lamina.Spec(layers="0,1")}


@pytest.fixture
def source(tmp_path: Path) -> Source:
    path = tmp_path / "in.jsonl"
    texts = [f"{list(SCRIPTS.values())[i % 20]} number {i}" for i in range(N_TEXTS)]
    path.write_text("".join(json.dumps({"text": text, "n": i}) + "\n" for i, text in enumerate(texts)))
    return Source(str(path))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regroup, "MAX_TEXTS", 4)


class InterruptionError(Exception):
    """What stands for a kill."""


def interrupt_at(monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    """Let the `number`-th call of a function that makes files durable fail, without any tidying up."""
    counted = {"calls": 0}
    real: Callable[..., object] = getattr(durable.os, call)

    def failing(*arguments: object, **options: object) -> object:
        counted["calls"] += 1
        if counted["calls"] == number:
            raise InterruptionError
        return real(*arguments, **options)

    monkeypatch.setattr(durable.os, call, failing)


@pytest.mark.parametrize("specs", [ONE, SPECS], ids=["one table", "two tables"])
@pytest.mark.parametrize("number", range(1, 50, 3))
def test_an_interruption_at_any_write_changes_nothing(
    tiny: Extractor,
    source: Source,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    specs: dict[str, lamina.Spec],
    number: int,
) -> None:
    run(source, tmp_path / "whole", tiny, specs, shard_bytes=200)
    with monkeypatch.context() as interrupted:
        interrupt_at(interrupted, "fsync", number)
        try:
            run(source, tmp_path / "broken", tiny, specs, shard_bytes=200)
        except InterruptionError:
            pass
        else:
            pytest.skip(f"the job makes fewer than {number} writes")
    run(source, tmp_path / "broken", tiny, specs, shard_bytes=200)
    assert_same_files(tmp_path / "broken", tmp_path / "whole")


def test_what_is_done_is_not_computed_again(tiny: Extractor, source: Source, tmp_path: Path) -> None:
    n_done = 0

    def stop_late(done: Done) -> None:
        nonlocal n_done
        n_done += 1
        if n_done == 30:
            raise InterruptionError

    with pytest.raises(InterruptionError):
        run(source, tmp_path / "d", tiny, ONE, shard_bytes=200, on_batch=stop_late, batch_tokens=1)
    held = json.loads((tmp_path / "d" / "manifest.json").read_text())["n_texts"]
    assert 0 < held < N_TEXTS
    seen: list[Done] = []
    run(source, tmp_path / "d", tiny, ONE, shard_bytes=200, on_batch=seen.append, batch_tokens=1)
    assert round(sum(done.n_texts for done in seen)) == N_TEXTS - held


@pytest.fixture
def unfinished(tiny: Extractor, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with monkeypatch.context() as interrupted:
        interrupt_at(interrupted, "fsync", 14)
        with pytest.raises(InterruptionError):
            run(source, tmp_path / "d", tiny, ONE, shard_bytes=200)
    return tmp_path / "d"


def test_another_job_is_refused_with_the_difference(tiny: Extractor, source: Source, unfinished: Path) -> None:
    before = files_in(unfinished)
    with pytest.raises(lamina.LaminaError, match=r"spec was layers=0,1 .* and is layers=1 "):
        run(source, unfinished, tiny, {"": lamina.Spec(layers="1")}, shard_bytes=200)
    assert files_in(unfinished) == before


def test_another_input_is_refused_with_the_difference(tiny: Extractor, source: Source, unfinished: Path) -> None:
    path = Path(source.path)
    path.write_text(path.read_text() + '{"text": "one more"}\n')
    with pytest.raises(lamina.LaminaError, match=r"the input was .* and is "):
        run(source, unfinished, tiny, ONE, shard_bytes=200)


def test_an_iterable_cannot_be_gone_on_with(tiny: Extractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"text {i}" for i in range(N_TEXTS)]
    with monkeypatch.context() as interrupted:
        interrupt_at(interrupted, "fsync", 14)
        with pytest.raises(InterruptionError):
            run(texts, tmp_path / "d", tiny, ONE, shard_bytes=200)
    with pytest.raises(lamina.LaminaError, match="no file that could be read again"):
        run(texts, tmp_path / "d", tiny, ONE, shard_bytes=200)
    assert len(run(texts, tmp_path / "d", tiny, ONE, overwrite=True)[""]) == N_TEXTS


def test_a_lost_shard_is_found_before_going_on(tiny: Extractor, source: Source, unfinished: Path) -> None:
    next((unfinished / "shards").glob("*.parquet")).unlink()
    with pytest.raises(lamina.LaminaError, match="missing or cut short"):
        run(source, unfinished, tiny, ONE, shard_bytes=200)
