"""The targets: each takes bytes, hands them to one door of Lamina, and checks what comes out.

Whatever the bytes, a door gives a result that is sound or raises a LaminaError; anything else is a finding. The tests
(`tests/hostile`) run the same targets on the kept corpora and on a few thousand changed inputs.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

import lamina
from fuzz import samples
from lamina.dataset.sealed import checksum
from lamina.dataset.verify import verify
from lamina.errors import LaminaError
from lamina.model.architecture import architecture_of, family_of
from lamina.model.checkpoint import find_checkpoint
from lamina.model.config import read_config
from lamina.model.heads import read_head
from lamina.model.sentence import read_recipe
from lamina.model.weights import read_weights
from lamina.spec import Spec
from lamina.text.source import Rows, Source
from lamina.text.text import Text, Unreadable, as_text
from lamina.text.tokenizer import load_tokenizer
from lamina.text.tokens import Tokens
from lamina.text.units import make_units

LINED = ("txt", "csv", "tsv", "jsonl", "conll", "conllu")
PROBES = ["one two", "", " ", "abc" * 50, "a\u0301 É", "河水", "\u200d\ufe0f", "[SEP] the", "\x00\x85"]
TEXT_LENGTH = 2_000  # characters of a fuzzed text that are computed: the tiny model reads it in windows of 16 tokens


@dataclass(frozen=True, slots=True)
class Target:
    """One door: what runs it, and the sound inputs that the changing begins with."""

    run: Callable[[bytes], None]
    seeds: Callable[[], dict[str, bytes]]


def lined(data: bytes) -> None:
    """A csv, tsv, jsonl, txt, conll or conllu file: the first byte says which, and how it is read."""
    how, content = (data[0], data[1:]) if data else (0, b"")
    options: dict[str, Any] = {"format": LINED[how % len(LINED)], "errors": ("strict", "replace")[how >> 3 & 1]}
    with _file("input", content) as path:
        if how & 16 and options["format"] in ("jsonl", "csv"):
            options |= {"words": "words"} if how & 32 else {"text": "text", "spans": "spans", "pair": "pair"}
        _read(Source(str(path), **options))


def parquet(data: bytes) -> None:
    """A Parquet file, its text, its words and its spans."""
    with _file("input.parquet", data) as path:
        for options in ({"text": "text", "errors": "replace"}, {"words": "words"}, {"text": "text", "spans": "spans"}):
            _read(Source(str(path), **options))  # type: ignore[arg-type]


def safetensors(data: bytes) -> None:
    """The weights of a model folder."""
    with _file("model.safetensors", data) as path, suppress(LaminaError):
        config = read_config(_model() / "config.json")
        arch = architecture_of(config)
        weights = read_weights([path], arch, family_of(config))
        assert all(weights[name].shape == weights.tensors[name].shape for name in weights.tensors)


def config(data: bytes) -> None:
    """config.json, beside sound weights: what is accepted must compute."""
    with _file("config.json", data) as path:
        with suppress(LaminaError):
            parsed = read_config(path, head=True)
            arch = architecture_of(parsed)
            weights = read_weights([_model() / "model.safetensors"], arch, family_of(parsed))
            with suppress(LaminaError):
                read_head(None, parsed, arch, weights)
        for name in ("model.safetensors", "vocab.txt"):
            path.with_name(name).symlink_to(_model() / name)
        with suppress(LaminaError):
            found = lamina.load(path.parent, engine="reference").extract(["the ab", ""], layers="all")
            assert len(found) == 2


def model_json(data: bytes) -> None:
    """The other JSON of a model folder: the index of shards, sentence-transformers' modules and settings."""
    names = list(samples.model_json_files())
    how, content = (data[0], data[1:]) if data else (0, b"")
    with tempfile.TemporaryDirectory() as temporary:
        folder = samples.save_sentence_model(Path(temporary))
        (folder / names[how % len(names)]).write_bytes(content)
        arch = architecture_of(read_config(folder / "config.json"))
        with suppress(LaminaError):
            files = find_checkpoint(folder).weight_files()
            assert all(path.resolve().is_relative_to(folder.resolve()) for path in files)
        with suppress(LaminaError):
            str(read_recipe(folder, arch))
        with suppress(LaminaError):
            load_tokenizer(folder)


def tokenizer(data: bytes) -> None:
    """tokenizer.json: what it makes of texts stays within them, and is the same alone."""
    with _file("tokenizer.json", data) as path, suppress(LaminaError):
        made = load_tokenizer(path.parent)
        assert made.sha256
        for text in (*PROBES, Text("a b", pair="c")):
            with suppress(LaminaError):
                tokens = made.encode([text])
                _check_tokens(tokens, text, made.n_ids)
                for unit in ("text", "word", "sentence", "token"):
                    make_units(unit, [as_text(text)], tokens)  # type: ignore[arg-type]


def manifest(data: bytes) -> None:
    """manifest.json of a dataset, its checksum set right again so that what is behind it is reached."""
    with suppress(ValueError, RecursionError):
        found = json.loads(data)
        if isinstance(found, dict) and found.pop("checksum", None) != "kept":
            data = json.dumps({**found, "checksum": checksum(found)}).encode()
    with _dataset() as folder:
        (folder / "manifest.json").write_bytes(data)
        _read_dataset(folder)


def shard(data: bytes) -> None:
    """A shard of a dataset, under a manifest that agrees with its size."""
    with _dataset() as folder:
        (path,) = (folder / "shards").iterdir()
        path.write_bytes(data)
        found = json.loads((folder / "manifest.json").read_bytes())
        del found["checksum"]
        found["shards"][0]["n_bytes"] = len(data)
        (folder / "manifest.json").write_text(json.dumps({**found, "checksum": checksum(found)}))
        _read_dataset(folder)


def spec(data: bytes) -> None:
    """The words of a Spec: they parse, print and parse back."""
    with suppress(LaminaError):
        parsed = Spec.parse(data.decode(errors="replace"))
        assert Spec.parse(str(parsed)) == parsed
        parsed.layer_numbers(6)


def texts(data: bytes) -> None:
    """Any text between two others: it gets vectors or a reason, and its neighbours' vectors are theirs to the bit."""
    text = data.decode(errors="surrogateescape")[:TEXT_LENGTH]
    model, beside, alone = _extractor()
    for unit in ("text", "word", "token", "sentence"):
        found = model.extract([beside, text, beside], unit=unit, on_error="mark")  # type: ignore[arg-type]
        ids = found.units["text_id"].to_numpy()
        for name, matrix in found.columns.items():
            for number in (0, 2):
                assert np.array_equal(matrix[ids == number], alone[unit].columns[name]), (unit, name)
            of_text = found.units.filter((ids == 1).tolist())
            is_nan = np.isnan(matrix[ids == 1]).all(axis=1)
            assert (is_nan == np.isin(of_text["status"].to_pylist(), ["dropped", "error"])).all(), (unit, name)


def _read(source: Source) -> None:
    """What reads with `stop` reads the same with `mark`; what is marked says why, and quotes nothing of the file."""
    stopped = marked = None
    with suppress(LaminaError):
        stopped = [_sound(rows) for rows in source.rows()]
    with suppress(LaminaError):
        marked = [_sound(rows) for rows in source.rows(on_error="mark")]
    if stopped is not None:
        assert marked == stopped
        assert not any(isinstance(text, Unreadable) for texts, *_ in stopped for text in texts)


def _sound(rows: Rows) -> tuple[list[Any], Any, str]:
    """What rows hold, to be compared: a number that is none is equal to itself here."""
    assert not rows.columns.num_columns or rows.columns.num_rows == len(rows.texts)
    rows.columns.validate(full=True)
    taken = rows.columns.take(list(range(len(rows.texts)))) if rows.columns.num_columns else rows.columns
    samples.parquet(taken)  # what travels along can be written
    return rows.texts, rows.columns.schema, repr(rows.columns.to_pylist())


def _check_tokens(tokens: Tokens, text: str | Text, n_ids: int) -> None:
    assert tokens.bounds.tolist() == [0, tokens.ids.size]
    assert ((tokens.ids >= 0) & (tokens.ids < n_ids)).all()
    total = int(tokens.totals[0])
    for places in (tokens.starts, tokens.ends):
        assert ((places >= 0) & (places <= total)).all()
        assert (np.diff(places) >= 0).all()
    assert total >= len(as_text(text).text)
    assert tokens.counts[0] >= 0


def _read_dataset(folder: Path) -> None:
    with suppress(LaminaError):
        verify(folder)
    with suppress(LaminaError):
        dataset = lamina.open(folder)
        assert len(dataset.units) == len(dataset)
        for name in dataset.manifest.vector_columns:
            assert dataset.vectors(name).shape == (len(dataset), dataset.manifest.width)
        dataset.units_at([0])


@contextmanager
def _file(name: str, data: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        yield path


@contextmanager
def _dataset() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copytree(_made(), Path(folder) / "made"))


@cache
def _home() -> Path:
    """A folder that lasts as long as the process."""
    folder = Path(tempfile.mkdtemp(prefix="lamina-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _model() -> Path:
    return samples.save_model(_home() / "model")


@cache
def _made() -> Path:
    """A dataset of a few texts, one of them marked."""
    path = _home() / "texts.jsonl"
    path.write_text('{"text": "the ab", "n": 1}\n{"text": 7, "n": 2}\n{"text": "", "n": null}\n')
    dataset = lamina.extract(path, _home() / "made", model=_extractor()[0], unit="word", layers="0,-1", on_error="mark")
    return dataset.folder


def _shards() -> dict[str, bytes]:
    """A shard as it is written, and one without the checksums of its pages, behind which more can be reached."""
    (path,) = (_made() / "shards").iterdir()
    return {"checked": path.read_bytes(), "unchecked": samples.parquet(pq.read_table(path), compression="none")}


@cache
def _extractor() -> tuple[lamina.Extractor, str, dict[str, lamina.Embeddings]]:
    """The tiny model, a text that stands beside others, and what it gives alone."""
    model, beside = lamina.load(_model()), "the ab, cd! efs of the long wxyz."
    model = replace(model, checkpoint=replace(model.checkpoint, name="tiny"))  # no path of this machine in what is kept
    units = ("text", "word", "token", "sentence")
    return model, beside, {unit: model.extract([beside], unit=unit) for unit in units}  # type: ignore[arg-type]


TARGETS = {
    "lined": Target(lined, samples.lined),
    "parquet": Target(parquet, samples.parquets),
    "safetensors": Target(safetensors, lambda: {"weights": samples.weights()}),
    "config": Target(config, samples.configs),
    "model_json": Target(model_json, samples.model_json),
    "tokenizer": Target(tokenizer, samples.tokenizers),
    "manifest": Target(manifest, lambda: {"manifest": (_made() / "manifest.json").read_bytes()}),
    "shard": Target(shard, _shards),
    "spec": Target(spec, samples.specs),
    "texts": Target(texts, samples.texts),
}
