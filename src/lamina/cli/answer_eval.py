"""`lamina answer --eval`: retrieval and answers measured on a file of SQuAD's kind, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.cli.answer_reader import Reader, extracted, reader_of
from lamina.cli.compose import Extraction, facts_of
from lamina.cli.figures import Figures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import altair

    from lamina.apps.answer.spans import Answer
    from lamina.apps.answer.squad import Question, Squad
    from lamina.apps.mix import Mix
    from lamina.apps.search.exact import Int64
    from lamina.dataset.reader import Dataset
    from lamina.embeddings import Embeddings

DEPTH = 100  # passages looked at, for the mean reciprocal rank


@dataclass(frozen=True, slots=True)
class Task:
    """What is measured: a file, and how it is answered and compared."""

    data: str
    squad: Squad
    by: str
    k: int
    language: str
    pool: Any


def evaluate(
    task: Task, how: Extraction, layers: tuple[str, ...], *, as_json: bool, report: str | None, chart: str | None
) -> None:
    """Retrieval among all passages; answers in the right passage, and in the k that fit best."""
    from lamina.apps.mix import mixes_of
    from lamina.errors import SourceError
    from lamina.spec import Spec

    questions = [question for question in task.squad.questions if question.answers]
    if not questions:
        raise SourceError(f"{task.data} holds no question that has an answer")
    extractor = how.load()
    reader = reader_of(extractor, task.by, task.pool)
    spec, texts = Spec(pool=task.pool, dtype="float32"), [question.text for question in questions]
    with extracted(task.squad.passages, {"texts": spec, "sentences": reader.spec()}, extractor, how) as made:
        asked = extractor.extract_views(texts, {"": spec})[""]
        reads = (
            _by_head(reader, task, questions)
            if reader.head
            else _by_sentence(reader.questions(texts), made["sentences"])
        )
        rows = [_row(task, questions, mix, made["texts"], asked, reads) for mix in mixes_of(made["texts"], layers)]
        facts = {**facts_of(made["texts"]), "data": f"{Path(task.data).name}, sha256 {_sha256(task.data)}"}
    about = {
        "data": task.data, "passages": len(task.squad.passages), "questions": len(questions),
        "unanswerable": len(task.squad.questions) - len(questions), "by": reader.name, "k": task.k,
        "language": task.language,
    }  # fmt: skip
    title = f"{len(questions):,} questions, {len(task.squad.passages):,} passages, answered by {reader.name}"
    best = "open_f1" if reader.head else "open_holds"
    Figures(
        rows, about, title, best,
        lambda row: _said(row, reader.name),
        lambda: _drawn(rows, title, reader.name),
    ).give_out(facts=facts, as_json=as_json, report=report, chart=chart)  # fmt: skip


def _by_sentence(asked: Embeddings, sentences: Dataset) -> Callable[[Mix, Int64, Int64], list[Answer]]:
    from lamina.apps.answer.spans import Sentences

    units = sentences.units

    def read(mix: Mix, query: Int64, passage: Int64) -> list[Answer]:
        return Sentences(units, mix.vectors(sentences)).answers(mix.vectors(asked)[query], passage)

    return read


def _by_head(reader: Reader, task: Task, questions: Sequence[Question]) -> Callable[[Mix, Int64, Int64], list[Answer]]:
    """What the head reads is the same for all layers: each question is read in a passage once."""
    known: dict[tuple[int, int], Answer] = {}

    def read(_: Mix, query: Int64, passage: Int64) -> list[Answer]:
        pairs = list(zip(query.tolist(), passage.tolist(), strict=True))
        new = [pair for pair in dict.fromkeys(pairs) if pair not in known]
        texts = [(questions[q].text, task.squad.passages[p]) for q, p in new]
        known.update(zip(new, reader.by_head(texts), strict=True))
        return [known[pair] for pair in pairs]

    return read


def _row(
    task: Task, questions: Sequence[Question], mix: Mix, passages: Dataset, asked: Embeddings,
    read: Callable[[Mix, Int64, Int64], list[Answer]],
) -> dict[str, Any]:  # fmt: skip
    """One layer's figures."""
    import numpy as np

    from lamina.apps.answer.spans import Answer
    from lamina.apps.search.index import Index
    from lamina.apps.search.retrieval import retrieval

    right = np.array([question.passage for question in questions])
    found = Index.of(passages, str(mix)).search(mix.vectors(asked), k=max(DEPTH, task.k)).rows
    figures = retrieval(found, [{int(passage): 1} for passage in right], cutoffs=(1, 10))
    row: dict[str, Any] = {
        "layer": str(mix), "mrr": figures.mrr, "recall@1": figures.recall[1], "recall@10": figures.recall[10]
    }  # fmt: skip
    everyone = np.arange(len(questions))
    row |= _marks(questions, read(mix, everyone, right), task.language, "")
    query, rank = np.nonzero(found[:, : task.k] >= 0)
    answers = read(mix, query, found[query, rank])
    order = np.lexsort((rank, np.array([-answer.score for answer in answers]), query))
    best = {int(query[place]): answers[place] for place in order[::-1].tolist()}  # the first of a question stays
    nothing = Answer("", 0, 0, float("-inf"))
    return row | _marks(questions, [best.get(number, nothing) for number in everyone.tolist()], task.language, "open_")


def _marks(questions: Sequence[Question], answers: list[Answer], language: str, prefix: str) -> dict[str, float]:
    """The share of answers that hold an expected one, that are one, and the mean F1."""
    from math import fsum

    from lamina.apps.answer.squad import exact_match, f1, holds

    return {
        prefix + name: fsum(mark(a.text, q.answers, language) for q, a in zip(questions, answers, strict=True))
        / len(questions)
        for name, mark in (("holds", holds), ("exact", exact_match), ("f1", f1))
    }


def _said(row: Mapping[str, Any], by: str) -> str:
    if by == "head":
        return f"At layer {row['layer']} the answers found among all passages have a mean F1 of {row['open_f1']:.1%}."
    return (
        f"At layer {row['layer']} the sentence found among all passages holds the answer to {row['open_holds']:.1%} of "
        "the questions."
    )


def _sha256(path: str) -> str:
    import hashlib

    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _drawn(rows: list[dict[str, Any]], title: str, by: str) -> altair.LayerChart:
    from lamina.apps.charts import by_layer

    words = {"mrr": "passage found (MRR)", "holds": "sentence, passage given", "open_holds": "sentence, passage found"}
    if by == "head":
        words = {"mrr": "passage found (MRR)", "f1": "F1, passage given", "open_f1": "F1, passage found"}
    values = [{"layer": row["layer"], "share": row[name], "what": said} for name, said in words.items() for row in rows]
    return by_layer(values, score="share", title=title, colour="what")
