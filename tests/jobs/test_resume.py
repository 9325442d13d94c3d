"""Proves that an interrupted job goes on where it was, and that its result is that of a job never interrupted, byte for
byte: whichever write it was interrupted at, in one table or in several."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

import lamina
from lamina.dataset import durable
from lamina.dataset.manifest import read_manifest
from lamina.errors import SourceError
from lamina.extraction import regroup
from lamina.extraction.extractor import Done, Extractor
from lamina.jobs import made
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
@pytest.mark.parametrize("number", range(1, 68, 6))
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
    with pytest.raises(lamina.LaminaError, match=r"spec was layers=0,1 and is layers=1;"):
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


def test_a_finished_job_is_left_as_it_is(tiny: Extractor, source: Source, tmp_path: Path) -> None:
    run(source, tmp_path / "d", tiny, SPECS, shard_bytes=200)
    before = files_in(tmp_path / "d")
    seen: list[Done] = []
    run(source, tmp_path / "d", tiny, SPECS, shard_bytes=200, on_batch=seen.append)
    assert (seen, files_in(tmp_path / "d")) == ([], before)


def test_a_finished_dataset_of_an_iterable_is_not_taken_for_that_of_another(tiny: Extractor, tmp_path: Path) -> None:
    lamina.extract(["a door"], tmp_path / "d", model=tiny)
    with pytest.raises(lamina.LaminaError, match="is a dataset already, made of no file"):
        lamina.extract(["a key"], tmp_path / "d", model=tiny)


def test_an_input_under_another_name_and_a_model_in_another_folder_are_the_same(
    tiny: Extractor, tiny_bert: Path, source: Source, unfinished: Path, tmp_path: Path
) -> None:
    """As after moving both to another machine."""
    moved = Path(source.path).rename(tmp_path / "moved.jsonl")
    model = lamina.load(shutil.copytree(tiny_bert, tmp_path / "model"))
    run(Source(str(moved)), unfinished, model, ONE, shard_bytes=200)
    run(Source(str(moved)), tmp_path / "whole", tiny, ONE, shard_bytes=200)
    found, expected = files_in(unfinished), files_in(tmp_path / "whole")
    assert {name: found[name] for name in found if name != "manifest.json"} == {
        name: expected[name] for name in expected if name != "manifest.json"
    }


@pytest.mark.parametrize(
    ("name", "value"), [("layer_norm_eps", 1e-6), ("hidden_act", "relu"), ("attention_probs_dropout_prob", 0.2)]
)
def test_the_same_weights_with_another_configuration_are_another_model(
    tiny_bert: Path, source: Source, unfinished: Path, tmp_path: Path, name: str, value: object
) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, name: value}))
    with pytest.raises(lamina.LaminaError, match="config_sha256 was"):
        run(source, unfinished, lamina.load(folder), ONE, shard_bytes=200)


def test_another_version_of_a_library_is_refused_with_both(
    tiny: Extractor, source: Source, unfinished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made, "version", lambda name: "99.9" if name == "tokenizers" else version(name))
    with pytest.raises(lamina.LaminaError, match=r"versions was .*'tokenizers': .* and is .*'tokenizers': '99\.9'"):
        run(source, unfinished, tiny, ONE, shard_bytes=200)


def test_a_file_read_in_another_way_is_another_input(tiny: Extractor, source: Source, unfinished: Path) -> None:
    for way in ({"format": "txt"}, {"keep": ()}, {"errors": "replace"}):
        with pytest.raises(lamina.LaminaError, match=r"the input was in\.jsonl .* and is in\.jsonl"):
            run(Source(source.path, **way), unfinished, tiny, ONE, shard_bytes=200)  # type: ignore[arg-type]
    run(Source(source.path, format="jsonl"), unfinished, tiny, ONE, shard_bytes=200)  # as its name says


def test_an_input_that_changes_while_it_is_read_never_becomes_a_dataset(
    tiny: Extractor, source: Source, tmp_path: Path
) -> None:
    def change(_: Done) -> None:
        with Path(source.path).open("a") as file:
            file.write('{"text": "one more", "n": 99}\n')

    with pytest.raises(SourceError, match="was changed while it was read") as raised:
        run(source, tmp_path / "d", tiny, ONE, on_batch=change)
    assert "overwrite" not in str(raised.value)  # to which texts came, that would cost the dataset
    with pytest.raises(lamina.LaminaError, match="unfinished"):
        lamina.open(tmp_path / "d")


def test_a_job_that_goes_on_reads_rarity_where_it_is_kept(
    tiny: Extractor, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a whole reading of the corpus."""
    specs = {"": lamina.Spec(layers="0", pool="idf")}
    with monkeypatch.context() as interrupted:
        interrupt_at(interrupted, "fsync", 20)
        with pytest.raises(InterruptionError):
            run(source, tmp_path / "d", tiny, specs, shard_bytes=100)
    assert read_manifest(tmp_path / "d").n_texts > 0
    with monkeypatch.context() as counted:
        counted.setattr("lamina.jobs.one_pass.fit_idf", lambda *_, **__: pytest.fail("it is counted again"))
        run(source, tmp_path / "d", tiny, specs, shard_bytes=100)
    run(source, tmp_path / "whole", tiny, specs, shard_bytes=100)
    assert_same_files(tmp_path / "d", tmp_path / "whole")


def test_a_text_longer_than_a_shard_is_gone_on_with_in_its_middle(tiny: Extractor, tmp_path: Path) -> None:
    """What is done of it is not computed again."""
    path = tmp_path / "long.txt"
    path.write_text("a short one\n" + "the river bank " * 400 + "\nthe end\n")
    specs = {"": lamina.Spec(layers="1", unit="token")}
    run(Source(str(path)), tmp_path / "whole", tiny, specs, shard_bytes=1600)
    assert sum(shard.n_open > 0 for shard in read_manifest(tmp_path / "whole").shards) > 4
    with pytest.MonkeyPatch.context() as small:
        small.setattr("lamina.extraction.parts.room", lambda *_: 64 * 4 * 100)

        def stop(_: Done) -> None:
            if len(list(tmp_path.glob("d/shards/*"))) == 3:
                raise InterruptionError

        with pytest.raises(InterruptionError):
            run(Source(str(path)), tmp_path / "d", tiny, specs, shard_bytes=1600, on_batch=stop, batch_tokens=16)
    n_all, n_rest = [], []
    run(Source(str(path)), tmp_path / "again", tiny, specs, shard_bytes=1600, on_batch=n_all.append)
    run(Source(str(path)), tmp_path / "d", tiny, specs, shard_bytes=1600, on_batch=n_rest.append)
    assert sum(done.n_tokens for done in n_rest) < 0.7 * sum(done.n_tokens for done in n_all)
    assert_same_files(tmp_path / "d", tmp_path / "whole")
    assert_same_files(tmp_path / "again", tmp_path / "whole")
