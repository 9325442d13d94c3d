"""What `lamina answer` reads with: passages as a dataset, and a head or sentences that find the answer in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lamina.cli.compose import Extraction, is_dataset

if TYPE_CHECKING:
    from lamina.apps.answer.spans import Answer
    from lamina.apps.answer.squad import Squad
    from lamina.apps.mix import Mix
    from lamina.apps.search.exact import Int64
    from lamina.dataset.reader import Dataset
    from lamina.embeddings import Embeddings
    from lamina.extraction.extractor import Extractor
    from lamina.extraction.head import Head
    from lamina.spec import Spec

    Read = Callable[[Mix | None, Int64, Int64], list[Answer]]  # of questions and passages, by their numbers

PAIRS = 256  # read by a head at once
POOLS = ("mean", "max", "sum", "sqrt", "position")  # that make a sentence's vector too; else it is a mean


@dataclass(frozen=True, slots=True)
class Reader:
    """What finds the answer in a passage: a head, or sentences at a layer, pooled as the passages are."""

    extractor: Extractor
    head: Head | None
    pool: str

    @property
    def name(self) -> str:
        """`head` or `sentence`."""
        return "sentence" if self.head is None else "head"

    def spec(self, layers: str = "all") -> Spec:
        """How sentences are extracted."""
        from lamina.spec import Spec

        pool: Any = self.pool if self.pool in POOLS else "mean"
        return Spec(layers=layers, unit="sentence", pool=pool, dtype="float32")

    def questions(self, texts: Sequence[str], layers: str = "all") -> Embeddings:
        """Questions as sentences are: without special tokens."""
        spec = replace(self.spec(layers), unit="text", special="exclude")
        return self.extractor.extract_views(texts, {"": spec})[""]

    def prepare(self, questions: Sequence[str], passages: Sequence[str], layers: str) -> Read:
        """What answers questions in passages, both given by their numbers, at one of the layers; None: the last one."""
        from lamina.apps.answer.spans import Sentences
        from lamina.apps.mix import Mix

        if self.head is not None:
            return lambda _, query, place: self.by_head(
                [(questions[q], passages[p]) for q, p in zip(query.tolist(), place.tolist(), strict=True)]
            )
        held = self.extractor.extract_views(passages, {"": self.spec(layers)})[""]
        asked = self.questions(questions, layers)

        def read(mix: Mix | None, query: Int64, place: Int64) -> list[Answer]:
            at = mix or Mix.parse(-1)
            return Sentences(held.units, at.vectors(held)).answers(at.vectors(asked)[query], place)

        return read

    def by_head(self, pairs: Sequence[tuple[str, str]]) -> list[Answer]:
        """The answer to each question in its passage."""
        from lamina.apps.answer.spans import head_answers
        from lamina.text.text import Text

        assert self.head is not None
        answers: list[Answer] = []
        for low in range(0, len(pairs), PAIRS):
            some = pairs[low : low + PAIRS]
            logits = self.head.logits([Text(question, pair=passage) for question, passage in some], long="window")
            answers += head_answers(logits.units, logits.values, [passage for _, passage in some])
        return answers


def reader_of(extractor: Extractor, by: str, pool: str) -> Reader:
    """The head where it is wanted and there, else sentences. Raises CheckpointError for `head` where there is none."""
    from lamina.errors import CheckpointError

    if by == "sentence":
        return Reader(extractor, None, pool)
    try:
        return Reader(extractor, extractor.head("question_answering"), pool)
    except CheckpointError:
        if by == "head":
            raise
        return Reader(extractor, None, pool)


@contextmanager
def passages_of(data: str, squad: Squad | None, how: Extraction, pool: Any) -> Iterator[tuple[Dataset, Extractor]]:
    """The passages as a dataset of texts, and the model that made it. Raises SpecError for a dataset of other units."""
    from lamina.cli.queries import made_by
    from lamina.errors import SpecError
    from lamina.spec import Spec

    spec = Spec(pool=pool)
    if squad is not None:
        extractor = how.load()
        with extracted(squad.passages, {"": spec}, extractor, how) as made:
            yield made[""], extractor
    elif is_dataset(data):
        with how.dataset(data, spec) as dataset:
            if dataset.spec.unit != "text" or "side" in dataset.units.column_names:
                raise SpecError(
                    f"{data} holds units {dataset.spec.unit!r}: passages are texts, extract them with unit 'text'"
                )
            yield dataset, made_by(dataset, how)
    else:
        extractor = how.load()
        with how.dataset(data, spec, extractor=extractor) as dataset:
            yield dataset, extractor


@contextmanager
def extracted(
    texts: Sequence[str], specs: dict[str, Spec], extractor: Extractor, how: Extraction
) -> Iterator[dict[str, Dataset]]:
    """Datasets of texts in memory, in a folder that is removed at the end."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from lamina.cli.progress import progress
    from lamina.jobs.local import run

    with TemporaryDirectory(prefix="lamina-") as folder, progress(sum(map(len, texts)), quiet=how.quiet) as seen:
        yield run(list(texts), Path(folder), extractor, specs, on_batch=seen)
