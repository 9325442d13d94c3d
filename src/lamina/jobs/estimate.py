"""What a job will take, before it runs: rows, tokens, bytes on disk, memory and time, from a sample of its input.

The sample is tokenized and cut into units like everything. Rows and tokens of the whole follow from the number of texts
and of characters, as they do in the sample (least squares). Time is that of some full batches, by their length.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lamina.dataset.shards import FORMATS
from lamina.dataset.writer import SHARD_BYTES
from lamina.engine.batch import Batch, Program
from lamina.extraction.batches import make_batches
from lamina.extraction.chunk import Chunk, make_chunk
from lamina.extraction.extractor import Extractor
from lamina.extraction.idf import fit_idf
from lamina.extraction.loading import load
from lamina.extraction.plan import Plan, make_plan
from lamina.extraction.regroup import room
from lamina.jobs.inputs import Texts, rows_in
from lamina.jobs.survey import Survey, survey
from lamina.model.inventory import n_parameters
from lamina.spec import Combine, Dtype, Layers, Long, Overlap, Pool, Spec, Special, Unit
from lamina.text.source import Rows, Source, rows_of

UNITS: tuple[Unit, ...] = ("text", "sentence", "word", "token")  # compared with one another
LARGE = 50_000_000_000  # bytes on disk of which to warn
MAY_BE_LARGE = 1_000_000_000  # bytes below which no disk is filled
FULL = 0.9  # of the room that is free: beyond, warn too
SECONDS = 4.0  # of computing, at most, after the first batch
LENGTHS = 6  # batches of so many different lengths are timed, at most
BASE_BYTES = 200e6  # of a process that has loaded everything but the weights
BYTES_A_CHARACTER = 50  # of the longest text, which is tokenized whole: measured at 2 and 8 million characters


@dataclass(frozen=True, slots=True)
class Table:
    """One table to be made; `bytes_a_column` is what one vector column takes, a layer or the combined one."""

    name: str
    spec: Spec
    n_rows: int
    n_columns: int
    width: int
    bytes_a_column: int
    bytes_units: int

    @property
    def n_bytes(self) -> int:
        return self.n_columns * self.bytes_a_column + self.bytes_units


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a job takes. All but the number of texts, their characters and the rows of unit `text` is about so.

    longest      characters of the longest text.
    n_sampled    texts that the rest follows from.
    rows_a_unit  how many rows other units would have.
    seconds      of computing; None where it was not timed.
    memory       resident bytes, at their peak.
    """

    n_texts: int
    n_characters: int
    n_tokens: int
    longest: int
    n_sampled: int
    tables: tuple[Table, ...]
    rows_a_unit: Mapping[str, int]
    seconds: float | None
    memory: int

    @property
    def n_bytes(self) -> int:
        """On disk, all tables."""
        return sum(table.n_bytes for table in self.tables)

    def json(self) -> dict[str, Any]:
        """For programs: rows are tables."""
        tables = [{**asdict(one), "spec": str(one.spec), "n_bytes": one.n_bytes} for one in self.tables]
        return {**asdict(self), "tables": tables, "n_bytes": self.n_bytes, "smaller": dict(self.smaller())}

    def smaller(self) -> list[tuple[str, int]]:
        """Ways to make the largest table smaller, with the bytes that all tables then take, least change first."""
        table = max(self.tables, key=lambda one: one.n_bytes)
        others = self.n_bytes - table.n_columns * table.bytes_a_column
        column = table.bytes_a_column
        ways: list[tuple[str, int]] = []
        if table.spec.dtype == "float32":
            column //= 2
            ways.append(("dtype=float16", others + table.n_columns * column))
        if table.n_columns > 4:
            ways.append(("layers=-4..-1", others + 4 * column))
        if table.n_columns > 1:
            ways.append(("combine=mean (one vector a row)", others + column))
        for unit in reversed(UNITS[: UNITS.index(table.spec.unit)] if table.spec.unit in UNITS else ()):
            share = self.rows_a_unit[unit] / max(1, table.n_rows)
            ways.append((f"unit={unit}", round(others + share * table.n_columns * column)))
        return ways


def plan(
    source: str | Path | Texts,
    *,
    model: str | Path | Extractor = "minilm",
    text: str | None = None,
    layers: Layers = "all",
    unit: Unit = "text",
    pool: Pool = "mean",
    combine: Combine = "none",
    special: Special = "include",
    long: Long = "window",
    max_tokens: int | None = None,
    stride: int | None = None,
    overlap: Overlap = "centre",
    dims: int | None = None,
    normalize: bool = False,
    prompt: str | None = None,
    dtype: Dtype = "float16",
) -> Estimate:
    """What `lamina.extract` with the same options will take, from one reading of the input and some seconds of
    computing. An iterator is used up by it. Raises what `lamina.extract` raises."""
    spec = Spec.of(
        layers=layers, unit=unit, pool=pool, combine=combine, special=special, long=long, max_tokens=max_tokens,
        stride=stride, overlap=overlap, dims=dims, normalize=normalize, prompt=prompt, dtype=dtype,
    )  # fmt: skip
    texts = Source(str(source), text=text) if isinstance(source, str | Path) else source
    extractor = model if isinstance(model, Extractor) else load(model)
    return estimate(survey(rows_in(texts)), extractor, {"": spec})


def estimate(found: Survey, extractor: Extractor, specs: Mapping[str, Spec], *, timed: bool = True) -> Estimate:
    """What the tables of one pass over a surveyed input take. Raises SpecError, TextError."""
    asked = extractor.plan(specs)
    chunk = _sampled(found, extractor, asked)
    tables = tuple(_table(name, asked, chunk, found) for name in specs)
    rows_a_unit = _rows_a_unit(found, extractor, specs)
    weights = 4 * n_parameters(extractor.architecture)
    of_chunk = room(extractor.plan(specs, stored=True), extractor.engine.batch_tokens)
    scale = found.n_characters / max(1, found.sampled_characters)
    return Estimate(
        n_texts=found.n_texts,
        n_characters=found.n_characters,
        n_tokens=rows_a_unit["token"],
        longest=found.longest,
        n_sampled=len(found.sample),
        tables=tables,
        rows_a_unit=rows_a_unit,
        seconds=scale * _seconds(extractor, asked, chunk) if timed else None,
        memory=round(BASE_BYTES + 2 * weights + _held_bytes(tables, of_chunk) + BYTES_A_CHARACTER * found.longest),
    )


def may_be_large(found: Survey, asked: Plan) -> bool:
    """Whether it can be worth an estimate at all: a row for each character would take more than MAY_BE_LARGE."""
    widths = [view.width * len(view.layers) * np.dtype(view.spec.dtype).itemsize for view in asked.views.values()]
    return (found.n_characters + found.n_texts) * sum(widths) > MAY_BE_LARGE


def warning(made: Estimate, out: Path) -> str | None:
    """What to say of a job that will fill the disk, or is larger than LARGE, with what would make it smaller."""
    free = shutil.disk_usage(next(path for path in (out.resolve(), *out.resolve().parents) if path.is_dir())).free
    if made.n_bytes < LARGE and made.n_bytes < FULL * free:
        return None
    ways = "; ".join(f"{what}: {n_bytes / 1e9:,.1f} GB" for what, n_bytes in made.smaller())
    return (
        f"this takes about {made.n_bytes / 1e9:,.1f} GB on disk, and {free / 1e9:,.1f} GB are free where {out} is"
        + (f". Smaller would be {ways}" if ways else "")
    )


def _sampled(found: Survey, extractor: Extractor, asked: Plan) -> Chunk:
    """The sample as a chunk; what cannot be tokenized is left out."""
    rows = _one_group(found)
    tokenizer = extractor.tokenizer.lowercased() if asked.lowercase else extractor.tokenizer
    idf = None
    if any(view.spec.pool == "idf" for view in asked.views.values()):
        idf = fit_idf([rows], extractor.tokenizer, on_error="mark")
    return make_chunk(rows, asked, tokenizer, first_row=0, idf=idf, on_error="mark")


def _one_group(found: Survey) -> Rows:
    groups = list(rows_of(found.sample))
    texts = [text for group in groups for text in group.texts]
    return Rows(texts, groups[0].columns.slice(0, 0)) if groups else Rows([], next(rows_of([""])).columns.slice(0, 0))


def _table(name: str, asked: Plan, chunk: Chunk, found: Survey) -> Table:
    view = asked.views[name]
    (made, *_) = [one for one in chunk.views if one.view is view]
    n_rows = _of_all(made.table, found)
    file = BytesIO()
    FORMATS[".parquet"].write(made.table, file)
    n_columns = len(view.layers) if view.spec.combine == "none" else 1
    a_column = n_rows * view.width * np.dtype(view.spec.dtype).itemsize
    of_units = round(file.tell() * n_rows / max(1, made.table.num_rows))
    return Table(name, view.spec, n_rows, n_columns, view.width, a_column, of_units)


def _rows_a_unit(found: Survey, extractor: Extractor, specs: Mapping[str, Spec]) -> dict[str, int]:
    """How many rows each unit would have; of tokens, every one."""
    first = next(iter(specs.values()))
    units: dict[str, Spec] = {
        unit: Spec(unit=unit, long=first.long, max_tokens=first.max_tokens, stride=first.stride, overlap=first.overlap)
        for unit in UNITS
    }
    chunk = _sampled(found, extractor, make_plan(units, extractor.architecture, extractor.tokenizer.template))
    return {unit: _of_all(view.table, found) for unit, view in zip(units, chunk.views, strict=True)}


def _of_all(units: pa.Table, found: Survey) -> int:
    """The rows of all texts, from the units table of the sample: so many a text and so many a character."""
    if not found.sample:
        return 0
    n_rows = np.bincount(units.column("text_id").to_numpy(), minlength=len(found.sample))
    sizes = np.array([len(text.text) for text in found.sample])
    shape = np.stack([np.ones_like(sizes), sizes], axis=1).astype(np.float64)
    of_text, of_character = np.linalg.lstsq(shape, n_rows.astype(np.float64))[0]
    return max(0, round(float(of_text * found.n_texts + of_character * found.n_characters)))


def _held_bytes(tables: Sequence[Table], of_one: int) -> int:
    """What is in memory of vectors: those of a chunk that is computed (`of_one` bytes at most), with half as much
    beside them, of one that is written, and a shard's twice."""
    of_chunk = sum(4 * one.n_rows * one.width * one.n_columns for one in tables)
    return round(2.5 * min(of_one, of_chunk) + 2 * sum(min(SHARD_BYTES, one.n_bytes) for one in tables))


def _seconds(extractor: Extractor, asked: Plan, chunk: Chunk) -> float:
    """How long the engine takes for a chunk: batches of some lengths are timed, what lies between is interpolated."""
    engine = extractor.engine
    made = make_batches(
        chunk,
        batch_tokens=engine.batch_tokens,
        max_positions=extractor.architecture.max_tokens,
        packs=engine.packs,
        fine_tokens=engine.fine_tokens,
    )
    batches = [batch for batch, _ in made]
    if not batches:
        return 0.0
    length = np.array([batch.ids.shape[1] for batch in batches], np.float64)
    size = np.array([batch.ids.size for batch in batches], np.float64)
    fullest = {int(S): max(np.flatnonzero(length == S), key=lambda i: size[i]) for S in np.unique(length)}
    places = np.linspace(0, len(fullest) - 1, min(LENGTHS, len(fullest))).round().astype(int)
    chosen = [batches[fullest[int(S)]] for S in np.unique(length)[places]]
    _timed(extractor, asked.program, chosen[0])  # compiles
    rates: dict[int, float] = {}
    started = time.perf_counter()
    for batch in chosen[::-1]:  # long ones first: most tokens are theirs
        if time.perf_counter() - started < SECONDS or not rates:
            rates[batch.ids.shape[1]] = _timed(extractor, asked.program, batch) / batch.ids.size
    known = np.array(sorted(rates), np.float64)
    rate = np.interp(length, known, [rates[int(S)] for S in known])
    return float((rate * size).sum())


def _timed(extractor: Extractor, program: Program, batch: Batch) -> float:
    started = time.perf_counter()
    for _ in extractor.engine.run(program, [batch]):
        pass
    return time.perf_counter() - started
