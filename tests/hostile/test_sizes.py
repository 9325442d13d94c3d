"""Sizes are looked at before memory is taken: long lines, quotes that never end, files that claim or repeat too much.

The bounds are made small here; `python -m fuzz.large` runs the same with gigabytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lamina
import lamina.text.breaks
import lamina.text.columns
import lamina.text.lines
import lamina.text.parquet
import lamina.text.records
from lamina.errors import CheckpointError, SourceError, WeightsError
from lamina.extraction.extractor import Extractor
from lamina.extraction.regroup import regrouped
from lamina.model.weights import MAX_HEADER, read_tensors
from lamina.spec import Spec
from lamina.text.breaks import sentence_ranges
from lamina.text.source import Source, rows_of
from lamina.text.text import Unreadable
from lamina.text.tokenizer import load_tokenizer


@pytest.fixture
def longest(monkeypatch: pytest.MonkeyPatch) -> int:
    for module in (lamina.text.lines, lamina.text.columns, lamina.text.records):
        monkeypatch.setattr(module, "LONGEST", 50)
    return 50


@pytest.mark.parametrize("format", ["txt", "jsonl"])
def test_a_line_that_is_too_long_is_passed_over(tmp_path: Path, longest: int, format: str) -> None:
    lines = {
        "txt": ["a", "x" * 2_000_000, "b", "y" * 50],
        "jsonl": ['{"text": "a"}', "x" * 70, '{"text": "b"}', "x" * 70],
    }
    path = tmp_path / f"in.{format}"
    path.write_text("\n".join(lines[format]))
    with pytest.raises(SourceError, match="line 2 is longer than 50 bytes"):
        list(Source(str(path)).rows())
    (rows,) = Source(str(path)).rows(on_error="mark")
    assert [text if isinstance(text, str) else None for text in rows.texts] == ["a", None, "b", None]


def test_a_quote_that_never_ends_is_given_up_before_the_file_is_in_memory(tmp_path: Path, longest: int) -> None:
    path = tmp_path / "in.csv"
    path.write_text('text\nfine\n"one\n' + "two\n" * 1_000)
    with pytest.raises(SourceError, match=r"in\.csv, line 1\d: a row that takes more than 50 bytes; is there a quote"):
        list(Source(str(path)).rows())
    path.write_text('text\nfine\n"one\ntwo"\n' * 100)
    assert sum(len(rows.texts) for rows in Source(str(path)).rows()) > 100  # each record is counted by itself


def test_a_string_of_python_that_is_too_long_is_refused(longest: int) -> None:
    with pytest.raises(SourceError, match="row 1 of the input has 51 characters, more than 50: give it in parts"):
        list(rows_of(["x" * 50, "x" * 51]))
    (rows,) = rows_of(["x" * 51], on_error="mark")
    assert isinstance(rows.texts[0], Unreadable)


def test_columns_are_learnt_from_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lamina.text.records, "LEARNT_BYTES", 100)
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "a"}\n' * 20 + '{"text": "a", "late": 1}\n')
    with pytest.raises(SourceError, match="row 20 has a column 'late', which the first rows lack"):
        list(Source(str(path)).rows())


def test_groups_are_bounded_by_all_that_travels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Extractor
) -> None:
    monkeypatch.setattr(lamina.text.source, "CHARACTERS", 1_000)
    path = tmp_path / "in.jsonl"
    path.write_text((json.dumps({"text": "a", "other": "x" * 500}) + "\n") * 10)
    groups = list(Source(str(path)).rows())
    assert [len(rows.texts) for rows in groups] == [2] * 5
    monkeypatch.setattr("lamina.extraction.regroup.RESULT_BYTES", 2_200)
    plan = tiny.plan({"": Spec(layers="0")})
    assert [len(rows.texts) for rows in regrouped(groups, plan, batch_tokens=1_000)] == [4, 4, 2]


def test_shards_are_bounded_by_all_that_travels(
    tmp_path: Path, tiny: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a million short titles with long bodies beside them would be held until their tokens fill a shard."""
    monkeypatch.setattr("lamina.dataset.writer.TOKEN_BYTES", 1)
    path = tmp_path / "in.jsonl"
    path.write_text((json.dumps({"text": "a", "body": "x" * 100_000}) + "\n") * 50)
    dataset = lamina.extract(path, tmp_path / "d", model=tiny, layers=0)
    assert [shard.n_rows for shard in dataset.manifest.shards] == [20, 20, 10]


def test_parquet_that_repeats_a_large_value_is_read_in_few_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lamina.text.parquet, "MAX_BYTES", 100_000)
    large = pa.DictionaryArray.from_arrays(pa.array(np.zeros(3_000, np.int32)), pa.array(["x" * 1_000]))
    lists = pa.ListArray.from_arrays(pa.array(np.arange(3_001, dtype=np.int32)), large)
    pq.write_table(pa.table({"text": large, "deep": lists, "n": range(3_000)}), tmp_path / "in.parquet")
    groups = list(Source(str(tmp_path / "in.parquet"), text="text").rows())
    assert sum(len(rows.texts) for rows in groups) == 3_000
    assert max(len(rows.texts) for rows in groups) <= 50


def test_parquet_with_large_texts_is_read_in_few_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texts = ["".join(map(chr, rng.integers(97, 123, 100_000))) for _ in range(200)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "in.parquet", use_dictionary=False)
    assert max(len(rows.texts) for rows in Source(str(tmp_path / "in.parquet")).rows()) <= 40


def test_parquet_that_claims_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lamina.text.parquet, "MAX_VALUES", 5_000)
    pq.write_table(pa.table({"text": ["a"], "deep": [[1] * 6_000]}), tmp_path / "in.parquet")
    with pytest.raises(SourceError, match=r"in\.parquet: column 'deep.list.element' claims 6,000 values"):
        list(Source(str(tmp_path / "in.parquet"), text="text").rows())
    assert [rows.texts for rows in Source(str(tmp_path / "in.parquet"), text="text", keep=()).rows()] == [["a"]]


@pytest.mark.parametrize("claimed", [2**64 - 1, 2**63, MAX_HEADER + 1, 100, 9])
def test_a_header_that_a_file_has_no_room_for_is_never_read(tmp_path: Path, claimed: int) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(claimed.to_bytes(8, "little") + b'{"a":{}}')
    with pytest.raises(
        WeightsError, match=r"model\.safetensors is damaged.*its header claims [\d,]+ bytes, of at most 8"
    ):
        read_tensors(path)


def test_a_header_that_would_take_memory_for_nothing_is_never_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.write((MAX_HEADER + 1).to_bytes(8, "little") + b"{")
        file.truncate(2 * MAX_HEADER)  # a hole: no such file is written
    with pytest.raises(WeightsError, match="its header claims 16,000,001 bytes, of at most 16,000,000"):
        read_tensors(path)


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.txt", "tokenizer_config.json"])
def test_a_tokenizer_file_of_gigabytes_is_never_read(tiny_bert: Path, tmp_path: Path, name: str) -> None:
    for path in tiny_bert.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / name).open("ab") as file:
        file.truncate(3_000_000_000)
    with pytest.raises(CheckpointError, match=rf"{name} has 3,000,000,000 bytes; such a file has at most 128,000,000"):
        load_tokenizer(tmp_path)


def test_words_are_sought_once_a_text_however_many_sentences_end_between_letters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once for each such end took 200 s for 80,000 Chinese characters."""
    calls: list[int] = []
    real = lamina.text.breaks.word_ranges
    monkeypatch.setattr(lamina.text.breaks, "word_ranges", lambda text: calls.append(1) or real(text))
    (found,) = sentence_ranges(["河水慢慢流向大海。银行昨天加息了！" * 50])
    assert len(found) == 100
    assert len(calls) == 1


def test_a_pipe_without_a_line_end_is_read_in_bounded_pieces(longest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Endless:
        def readline(self, size: int) -> bytes:
            asked.append(size)
            return b"a" * size if len(asked) < 100 else b""

    lines: Iterator[str] = lamina.text.lines.Lines(Endless(), "-")  # type: ignore[arg-type]
    assert next(lines) == "\n"
    assert next(lines, None) is None
    assert max(asked) <= 1 << 20
