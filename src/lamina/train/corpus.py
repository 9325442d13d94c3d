"""A corpus: documents as token ids, laid end to end in mapped files, however large it is.

Comes in: texts and a tokenizer. Goes out: a folder of four plain files and `corpus.json`, which is written last: where
it is there, the corpus is whole. Which tokens make one word is settled here too, by the words of `text/breaks.py`: so
whole words are masked in Chinese as in English, whatever the tokenizer. Special tokens are not stored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from lamina.dataset.durable import make_folder, write_bytes
from lamina.errors import DatasetError, SourceError
from lamina.text.source import Source
from lamina.text.text import Text, as_text
from lamina.text.tokenizer import Tokenizer
from lamina.text.tokens import Bool, Int64, Tokens
from lamina.text.units import make_units

Ids = npt.NDArray[np.uint16] | npt.NDArray[np.int32]
Documents = Literal["rows", "blank"]

FILE, FORMAT = "corpus.json", 1
TEXTS, CHARACTERS = 1024, 4_000_000  # tokenized at once, at most and about
NARROW = 1 << 16  # a vocabulary whose ids fit 16 bits


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """N documents of S sentences and T tokens, mapped.

    ids        [T].
    inside     [T]; whether a token goes on with the word of the token before it.
    sentences  [S + 1]; sentence s has the tokens sentences[s] to sentences[s + 1].
    documents  [N + 1]; document n has the sentences documents[n] to documents[n + 1]. None is empty.
    sha256     of the three that say what is learnt from.
    """

    ids: Ids
    inside: Bool
    sentences: Int64
    documents: Int64
    sha256: str

    @property
    def n_documents(self) -> int:
        return self.documents.size - 1

    @property
    def n_tokens(self) -> int:
        return self.ids.size

    @property
    def document_bounds(self) -> Int64:
        """[N + 1]; document n has the tokens from the n-th of these to the next."""
        return np.asarray(self.sentences[self.documents], np.int64)


@dataclass(frozen=True, slots=True)
class FileTexts:
    """The texts of a file, read anew whenever they are asked for; what a blank line is to them: see `documents_of`."""

    source: Source

    def __iter__(self) -> Iterator[str]:
        return (as_text(item).text for rows in self.source.rows() for item in rows.texts)


def documents_of(texts: Iterable[str], kind: Documents) -> Iterator[list[str]]:
    """The documents of texts, each a list of strings that are tokenized apart: with `rows` every text is a document of
    one string; with `blank` a document is the texts up to an empty one, each a sentence."""
    if kind == "rows":
        yield from ([text] for text in texts if text.strip())
        return
    held: list[str] = []
    for text in texts:
        if text.strip():
            held.append(text)
        elif held:
            yield held
            held = []
    if held:
        yield held


def make_corpus(
    documents: Iterable[list[str]], tokenizer: Tokenizer, folder: Path, *, sentences: bool = False
) -> Corpus:
    """Tokenize documents into a folder, in bounded memory; what is there is replaced.

    sentences  find those of documents of one string; else such a document is one sentence.

    Raises SourceError where there is no token, TextError for a text that cannot be tokenized, OSError.
    """
    make_folder(folder)
    (folder / FILE).unlink(missing_ok=True)  # until the new one is whole, there is none
    kind = np.dtype(np.uint16 if tokenizer.n_ids <= NARROW else np.int32)
    with ExitStack() as stack:
        ids, inside, starts, firsts = (_Array(stack.enter_context((folder / name).open("wb"))) for name in NAMES)
        writer = _Writer(ids, inside, starts, firsts)
        for group in _grouped(iter(documents)):
            writer.add(group, tokenizer, kind, sentences=sentences)
        if not writer.n_documents:
            raise SourceError("the corpus has no token: every text is empty")
        hashes = writer.finish()
    about = {
        "format": FORMAT,
        "tokenizer_sha256": tokenizer.sha256,
        "sentences": sentences,
        "type": kind.name,
        "documents": writer.n_documents,
        "tokens": writer.n_tokens,
        "sha256": hashes,
    }
    write_bytes(folder / FILE, json.dumps(about, indent=2).encode())
    return open_corpus(folder)


def open_corpus(folder: Path) -> Corpus:
    """Map the corpus in a folder. Raises DatasetError where none is there, or its files have other sizes."""
    about = read_about(folder)
    kinds = (np.dtype(about["type"]), np.dtype(np.bool_), np.dtype(np.int64), np.dtype(np.int64))
    ids, inside, sentences, documents = (
        np.memmap(folder / name, dtype=kind, mode="r") for name, kind in zip(NAMES, kinds, strict=True)
    )
    sizes = (ids.size, inside.size, documents.size - 1)
    if sizes != (about["tokens"], about["tokens"], about["documents"]):
        raise DatasetError(f"{folder} is damaged: its files are not of the sizes that {FILE} says; make it again")
    return Corpus(ids, inside, np.asarray(sentences), np.asarray(documents), about["sha256"])


def read_about(folder: Path) -> dict[str, Any]:
    """What made the corpus in a folder. Raises DatasetError where there is none, or it is of another format."""
    try:
        found = json.loads((folder / FILE).read_bytes())
    except FileNotFoundError:
        raise DatasetError(f"{folder} holds no corpus: there is no {FILE}") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{folder / FILE} cannot be read: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise DatasetError(f"{folder / FILE} is of another format than {FORMAT}: remove the folder")
    return found


NAMES = ("ids.bin", "inside.bin", "sentences.bin", "documents.bin")


class _Array:
    """A file to which arrays are appended, hashed as they pass."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest = file, sha256()

    def add(self, array: npt.NDArray[np.generic]) -> None:
        data = np.ascontiguousarray(array).tobytes()
        self.digest.update(data)
        self.file.write(data)


@dataclass(slots=True)
class _Writer:
    """The four files, and how much is in them."""

    ids: _Array
    inside: _Array
    sentences: _Array
    documents: _Array
    n_tokens: int = 0
    n_sentences: int = 0
    n_documents: int = 0

    def add(self, group: Sequence[list[str]], tokenizer: Tokenizer, kind: np.dtype[Any], *, sentences: bool) -> None:
        texts = [Text(string) for strings in group for string in strings]
        tokens = tokenizer.encode(texts)
        own = ~tokens.special
        place = np.concatenate(([0], np.cumsum(own)))  # where each token stands once the special ones are gone
        self.ids.add(tokens.ids[own].astype(kind))
        self.inside.add(_inside(texts, tokens)[own])
        is_single = np.repeat([len(strings) == 1 for strings in group], [len(strings) for strings in group])
        starts, text = _starts(texts, tokens, place, is_single & sentences)
        of_text = np.repeat(np.arange(len(group)), [len(strings) for strings in group])
        document = of_text[text]
        begins = np.flatnonzero(np.diff(document, prepend=-1))  # the first sentence of each document that has tokens
        self.sentences.add(starts + self.n_tokens)
        self.documents.add(begins + self.n_sentences)
        self.n_tokens += int(place[-1])
        self.n_sentences += starts.size
        self.n_documents += begins.size

    def finish(self) -> str:
        """Write the ends; the hash of what is learnt from."""
        self.sentences.add(np.array([self.n_tokens], np.int64))
        self.documents.add(np.array([self.n_sentences], np.int64))
        parts = [one.digest.hexdigest() for one in (self.ids, self.sentences, self.documents)]
        return sha256("".join(parts).encode()).hexdigest()


def _inside(texts: Sequence[Text], tokens: Tokens) -> Bool:
    """[T] whether a token goes on with a word that an earlier one has begun."""
    words = make_units("word", texts, tokens)
    has = words.last - words.first > 1
    change = np.zeros(tokens.ids.size + 1, np.int64)
    np.add.at(change, words.first[has] + 1, 1)
    np.add.at(change, words.last[has], -1)
    return np.asarray(np.cumsum(change)[:-1] > 0)


def _starts(texts: Sequence[Text], tokens: Tokens, place: Int64, is_cut: Bool) -> tuple[Int64, Int64]:
    """Where each sentence begins among the ordinary tokens, and the text that it is in; texts without a token have
    none. Only the texts of `is_cut` have more than one."""
    first = place[tokens.bounds[:-1]]
    filled = np.flatnonzero(place[tokens.bounds[1:]] > first)
    starts, text = first[filled], filled
    if is_cut.any():
        found = make_units("sentence", texts, tokens)
        taken = is_cut[found.text] & (found.last > found.first)
        starts = np.concatenate((starts, place[found.first[taken]]))
        text = np.concatenate((text, found.text[taken]))
        starts, where = np.unique(starts, return_index=True)  # a text's first sentence is found twice
        text = text[where]
    return starts, text


def _grouped(documents: Iterator[list[str]]) -> Iterator[list[list[str]]]:
    """Documents that are tokenized together."""
    while group := _some(documents):
        yield group


def _some(documents: Iterator[list[str]]) -> list[list[str]]:
    group, n_characters = [], 0
    for strings in islice(documents, TEXTS):
        group.append(strings)
        n_characters += sum(map(len, strings))
        if n_characters >= CHARACTERS:
            break
    return group
