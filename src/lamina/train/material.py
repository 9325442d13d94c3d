"""What is read without labels: texts as a corpus in a folder, its passages to learn from, others held out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np

from lamina.dataset.durable import make_folder
from lamina.errors import SourceError, SpecError
from lamina.text.source import Source
from lamina.text.tokenizer import Tokenizer
from lamina.train.batching import Int64
from lamina.train.corpus import Corpus, Documents, FileTexts, documents_of, make_corpus
from lamina.train.masking import Masking
from lamina.train.passages import Around, Pairs, Passages, Pieces, split_documents
from lamina.train.start import Start

MAX_TOKENS = 128  # Devlin et al. 2019 read nine tenths of their steps so long
HELD_OUT = 0.01
BLOCK = 1 << 22  # tokens looked at together

Texts = Source | Iterable[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How texts become passages.

    documents       `rows`: each text is a document; `blank`: its texts are sentences, and an empty one ends it.
    max_tokens      of a passage, special ones included.
    next_sentences  passages are pairs, of which a second head guesses whether they follow one another.
    masking         which tokens are guessed.
    held_out        the share of the documents that figures are of, where there are no texts for that.
    """

    documents: Documents = "rows"
    max_tokens: int = MAX_TOKENS
    next_sentences: bool = False
    masking: Masking = field(default_factory=Masking)
    held_out: float = HELD_OUT

    def __post_init__(self) -> None:
        if self.documents not in get_args(Documents):
            raise SpecError(f"documents must be {' or '.join(get_args(Documents))}, not {self.documents!r}")

    def check(self, most: int) -> None:
        """Raise SpecError for a model whose longest input is shorter than passages are."""
        if self.max_tokens > most:
            raise SpecError(f"max_tokens is {self.max_tokens}, and this model takes {most} at most")


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """Passages to learn from and, if any, held out.

    asked  what a run keeps to when it goes on; `about`: what its record has besides.
    """

    learnt: Passages
    held_out: Passages | None
    asked: Mapping[str, Any]
    about: Mapping[str, Any]


def make_material(
    texts: Iterable[str], validate: Texts | None, start: Start, reading: Reading, folder: Path, *, seed: int
) -> Material:
    """Tokenize texts into a folder. `validate`: texts held out; None: a share of the documents, by lot from the seed.

    Raises SpecError, SourceError, TextError, OSError.
    """
    around = Around.of(start.tokenizer)
    corpus = _corpus(texts, start.tokenizer, reading, folder / "corpus")
    share = reading.held_out if validate is None else 0.0
    least = 2 if reading.next_sentences else 1
    own, out = split_documents(corpus.n_documents, held_out=share, seed=seed, least=least)
    learnt, held_out, other = _passages(corpus, around, own, reading), None, None
    if validate is not None:
        other = _corpus(readable_again(validate), start.tokenizer, reading, folder / "held out")
        held_out = _passages(other, around, np.arange(other.n_documents), reading)
    elif out.size:
        held_out = _passages(corpus, around, out, reading)
    asked = {"reading": asdict(reading), "data": corpus.sha256, "held_out": None if other is None else other.sha256}
    about = {
        "documents": corpus.n_documents,
        "tokens": corpus.n_tokens,
        "unknown_share": _unknown(corpus, start.tokenizer) / corpus.n_tokens,
        "n": int(learnt.lengths().size),
        "n_held_out": 0 if held_out is None else int(held_out.lengths().size),
    }
    return Material(learnt, held_out, asked, about)


def readable_again(texts: Texts) -> Iterable[str]:
    """Texts as an iterable that begins anew each time. Raises SourceError for a pipe, SpecError for an iterator."""
    if isinstance(texts, Source):
        if not texts.can_be_read_twice:
            raise SourceError(f"{texts.name} can be read only once, and is read several times: give a file")
        return FileTexts(texts)
    if isinstance(texts, str | bytes | Iterator):
        raise SpecError("texts must be a file as a Source, or an iterable of strings that begins anew each time")
    return texts


@contextmanager
def work_folder(inside: str | Path | None) -> Iterator[Path]:
    """A folder in another one (None: where the system has its own) that is gone at the end."""
    if inside is not None:
        make_folder(Path(inside))
    with TemporaryDirectory(prefix="lamina-", dir=inside, ignore_cleanup_errors=True) as made:
        yield Path(made)


def _corpus(texts: Iterable[str], tokenizer: Tokenizer, reading: Reading, folder: Path) -> Corpus:
    return make_corpus(documents_of(texts, reading.documents), tokenizer, folder, sentences=reading.next_sentences)


def _passages(corpus: Corpus, around: Around, documents: Int64, reading: Reading) -> Passages:
    kind: type[Pairs] | type[Pieces] = Pairs if reading.next_sentences else Pieces
    return kind.of(corpus, around, documents, max_tokens=reading.max_tokens)


def _unknown(corpus: Corpus, tokenizer: Tokenizer) -> int:
    """How many tokens the vocabulary has no name for."""
    number = tokenizer.backend.token_to_id("[UNK]")
    if number is None:
        return 0
    return sum(int((corpus.ids[low : low + BLOCK] == number).sum()) for low in range(0, corpus.n_tokens, BLOCK))
