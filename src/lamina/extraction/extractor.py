"""The extractor: a loaded model, and its one job. Texts go in; embeddings come out in the order of the input.

One background thread prepares the next chunk (tokens, words, windows) while the engine computes this one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import pyarrow as pa

from lamina.embeddings import Embeddings, concatenate
from lamina.engine.batch import Batch, Engine
from lamina.errors import SpecError
from lamina.extraction.ahead import one_ahead
from lamina.extraction.assemble import Assembly
from lamina.extraction.attention import Attention, AttentionUnit, attention_of
from lamina.extraction.batches import make_batches
from lamina.extraction.chunk import Chunk, make_chunk
from lamina.extraction.head import Head
from lamina.extraction.idf import Idf, fit_idf
from lamina.extraction.parts import Start, parts_of
from lamina.extraction.plan import Plan, make_plan
from lamina.extraction.regroup import regrouped
from lamina.model.architecture import Architecture, family_of
from lamina.model.checkpoint import Checkpoint
from lamina.model.config import read_config
from lamina.model.heads import read_head
from lamina.model.sentence import SentenceRecipe, read_recipe
from lamina.model.weights import read_weights
from lamina.spec import Combine, Layers, Long, Overlap, Pool, Spec, Special, Unit
from lamina.text.source import Rows, rows_of
from lamina.text.text import OnError, Text
from lamina.text.tokenizer import Tokenizer
from lamina.text.tokens import Int64

FEW = 64  # texts that are one chunk, for which a thread that prepares the next would only cost time


@dataclass(frozen=True, slots=True)
class Done:
    """What one batch finished, for progress: its tokens, and its share of its chunk's texts and characters."""

    n_tokens: int
    n_texts: float
    n_characters: float


@dataclass(frozen=True, slots=True)
class Extractor:
    """A pretrained encoder with its tokenizer and an engine; `lamina.load` makes one."""

    checkpoint: Checkpoint
    architecture: Architecture
    tokenizer: Tokenizer
    engine: Engine

    def __repr__(self) -> str:
        arch, engine = self.architecture, self.engine
        return (
            f"Extractor({self.checkpoint.name!r}: {arch.family}, {arch.n_layers} layers × {arch.width}; "
            f"{engine.name} {engine.precision}, {engine.threads} threads)"
        )

    def extract(
        self,
        texts: Iterable[str | Text],
        *,
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
        batch_tokens: int | None = None,
        on_error: OnError = "stop",
    ) -> Embeddings:
        """The embeddings of texts, in memory: a units table [U rows] and a float32 matrix [U, D] for each layer.

        texts         strings, or `lamina.Text` for ready-made words, spans and pairs.
        batch_tokens  the most tokens, padding included, computed at once; changes no bit of the result. None: what
                      suits the engine.
        on_error      a text that cannot be read or tokenized: `stop` raises, `mark` gives it a row of status `error`,
                      whose column `error` says why and whose vectors are NaN.

        The other options are those of `Spec`. Raises SpecError for an option that contradicts the model, SourceError
        for an item that is no string, TextError for a string that is no text.
        """
        spec = Spec.of(
            layers=layers, unit=unit, pool=pool, combine=combine, special=special, long=long, max_tokens=max_tokens,
            stride=stride, overlap=overlap, dims=dims, normalize=normalize, prompt=prompt,
        )  # fmt: skip
        return self.extract_views(texts, {"": spec}, batch_tokens=batch_tokens, on_error=on_error)[""]

    def extract_views(
        self,
        texts: Iterable[str | Text],
        specs: Mapping[str, Spec],
        *,
        batch_tokens: int | None = None,
        on_error: OnError = "stop",
    ) -> dict[str, Embeddings]:
        """Several tables from one forward pass: `{"words": Spec(unit="word"), "texts": Spec(pool="cls")}`.

        The Specs must agree on `long`, `max_tokens`, `stride` and `overlap`. Raises what `extract` raises.
        """
        rows: Iterable[Rows] = rows_of(texts, on_error=on_error)
        idf = None
        if any(spec.pool == "idf" for spec in specs.values()):
            rows = list(rows)
            idf = fit_idf(rows, self.tokenizer, on_error=on_error)
        few = isinstance(texts, Sequence) and len(texts) <= FEW
        parts = list(
            self.stream_rows(
                rows, specs, batch_tokens=batch_tokens, idf=idf, even_if_empty=True, ahead=not few, on_error=on_error
            )
        )
        return {name: concatenate(part[name] for part in parts) for name in specs}

    def stream(
        self,
        texts: Iterable[str | Text],
        *,
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
        batch_tokens: int | None = None,
        on_error: OnError = "stop",
    ) -> Iterator[Embeddings]:
        """The same as `extract`, part by part in the order of the input, in bounded memory."""
        spec = Spec.of(
            layers=layers, unit=unit, pool=pool, combine=combine, special=special, long=long, max_tokens=max_tokens,
            stride=stride, overlap=overlap, dims=dims, normalize=normalize, prompt=prompt,
        )  # fmt: skip
        rows = rows_of(texts, on_error=on_error)
        parts = self.stream_rows(rows, {"": spec}, batch_tokens=batch_tokens, on_error=on_error)
        return (part[""] for part in parts)

    def attention(
        self,
        texts: Iterable[str | Text],
        *,
        layers: Layers = "encoder",
        unit: AttentionUnit = "token",
        heads: int | Iterable[int] | None = None,
    ) -> list[Attention]:
        """How the tokens or words of each text look at one another: float32 [L, H, U, U], row from, column to.

        layers  as in `extract`; layer 0 has no attention, layer k's made layer k of the states.
        unit    `token`, or `word`: summed over the pieces of the word looked at, averaged over those of the word that
                looks (Clark et al. 2019, section 4.1); special tokens keep rows of their own.
        heads   numbers from 0; None: all of them.

        Raises SpecError for a layer or head that does not exist, TextError for a text that does not fit one window.
        """
        return attention_of(
            texts, layers=layers, unit=unit, heads=heads,
            arch=self.architecture, tokenizer=self.tokenizer, engine=self.engine,
        )  # fmt: skip

    def head(self, name: str | None = None) -> Head:
        """The checkpoint's own task head: `sequence_classification`, `token_classification`, `question_answering` or
        `masked_lm`; None: the one that it has.

        Raises SpecError for another name, CheckpointError for a head that is not there or not supported.
        """
        config = read_config(self.checkpoint.config_path, head=True)
        weights = read_weights(self.checkpoint.weight_files(), self.architecture, family_of(config))
        return Head(self, read_head(name, config, self.architecture, weights))

    def plan(self, specs: Mapping[str, Spec], *, stored: bool = False) -> Plan:
        """Specs resolved against this model. Raises SpecError; with `pool="model"` what `sentence_recipe` raises."""
        recipe = self.sentence_recipe() if any(spec.pool == "model" for spec in specs.values()) else None
        return make_plan(specs, self.architecture, self.tokenizer.template, recipe=recipe, stored=stored)

    def sentence_recipe(self) -> SentenceRecipe:
        """What `pool="model"` does, as the checkpoint's sentence-transformers files say. Raises CheckpointError."""
        return read_recipe(self.checkpoint.folder, self.architecture)

    def stream_rows(
        self,
        rows: Iterable[Rows],
        specs: Mapping[str, Spec],
        *,
        batch_tokens: int | None = None,
        idf: Idf | None = None,
        on_batch: Callable[[Done], None] | None = None,
        even_if_empty: bool = False,
        first_row: int = 0,
        starts: Mapping[str, Start] | None = None,
        ahead: bool = True,
        stored: bool = False,
        on_error: OnError = "stop",
    ) -> Generator[dict[str, Embeddings]]:
        """The embeddings of `Rows` for each Spec, part by part, their columns travelling along.

        idf            what `fit_idf` gave, needed for `pool="idf"`.
        on_batch       hears of each batch that is done.
        first_row      the position in the whole input of the first text.
        starts         by a Spec's name, the text, and the row within it, at which its rows begin.
        ahead          the next chunk is made in the background while this one is computed.
        stored         they go into datasets, and may come in the Specs' dtype where that is what is stored anyway.
        even_if_empty  an input without texts gives one part without rows instead of no part.
        on_error       as in `extract`, for what the tokenizer refuses; the rows were read with the same.
        """
        batch_tokens = self.engine.batch_tokens if batch_tokens is None else batch_tokens
        if batch_tokens < 1:
            raise SpecError(f"batch_tokens must be at least 1, not {batch_tokens}")
        if idf is None and any(spec.pool == "idf" for spec in specs.values()):
            raise SpecError("pool 'idf' is fitted on a whole corpus first: extract texts or a file, not a stream")
        plan = self.plan(specs, stored=stored)
        chunks = self._chunks(rows, plan, idf, even_if_empty, first_row, batch_tokens, starts or {}, on_error)
        return self._parts(chunks, plan, batch_tokens, ahead, on_batch)

    def _parts(
        self,
        chunks: Iterator[Chunk],
        plan: Plan,
        batch_tokens: int,
        ahead: bool,
        on_batch: Callable[[Done], None] | None,
    ) -> Generator[dict[str, Embeddings]]:
        open_chunks: deque[Assembly] = deque()  # begun and not given out yet, in order
        computing: deque[tuple[Assembly, tuple[Int64, ...], Done]] = deque()  # one for each batch the engine has

        def batches() -> Generator[Batch]:
            for chunk in one_ahead(chunks) if ahead else chunks:
                assembly = Assembly(chunk, plan)
                open_chunks.append(assembly)
                total = max(1, int(chunk.windows.length.sum()))
                made = make_batches(
                    chunk,
                    batch_tokens=batch_tokens,
                    max_positions=self.architecture.max_tokens,
                    packs=self.engine.packs,
                    fine_tokens=self.engine.fine_tokens,
                )
                for batch, segments in made:
                    n_tokens = int(batch.lengths.sum())
                    done = Done(n_tokens, chunk.n_texts * n_tokens / total, chunk.n_characters * n_tokens / total)
                    computing.append((assembly, segments, done))
                    yield batch

        def finished() -> dict[str, Embeddings]:
            return dict(zip(plan.views, open_chunks.popleft().embeddings(self.architecture.width), strict=True))

        with closing(batches()) as source, closing(self.engine.run(plan.program, source)) as results:
            for reduced in results:
                assembly, segments, done = computing.popleft()
                assembly.put(segments, reduced)
                if on_batch is not None:
                    on_batch(done)
                while open_chunks and open_chunks[0].n_missing == 0:
                    yield finished()
        while open_chunks:
            yield finished()

    def _chunks(
        self,
        rows: Iterable[Rows],
        plan: Plan,
        idf: Idf | None,
        even_if_empty: bool,
        first_row: int,
        batch_tokens: int,
        starts: Mapping[str, Start],
        on_error: OnError,
    ) -> Iterator[Chunk]:
        tokenizer = self.tokenizer.lowercased() if plan.lowercase else self.tokenizer
        row = first_row
        for group in regrouped(rows, plan, batch_tokens=batch_tokens):
            chunk = make_chunk(group, plan, tokenizer, first_row=row, idf=idf, on_error=on_error)
            yield from parts_of(chunk, plan, first_row=row, starts=starts, batch_tokens=batch_tokens)
            row += len(group.texts)
        if row == first_row and even_if_empty:
            yield make_chunk(Rows([], pa.table({})), plan, tokenizer, first_row=row, idf=idf)
