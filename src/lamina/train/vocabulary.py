"""A vocabulary learnt from texts: WordPiece, as BERT cuts words, the same tokens and numbers on every run.

Comes in: texts that can be read several times. Goes out: a `Vocabulary`, and a folder with the files that make it a
tokenizer here and in transformers. The counting and merging is done by the library `tokenizers`; which tokens it is
given to begin with, and in which order, is settled here: it would number them by the order of a hash table, another
one on every run, and break ties between merges by those numbers.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.dataset.durable import write_bytes
from lamina.errors import SourceError, SpecError
from lamina.text.tokenizer import Tokenizer, load_tokenizer
from lamina.text.tokenizer_files import TOKENIZER_CONFIG, TOKENIZER_JSON, VOCAB, TokenizerError, guarded

if TYPE_CHECKING:
    from tokenizers.normalizers import Normalizer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # in the order of BERT's own vocabularies, without gaps
CONTINUES = "##"
SIZE = 30_522  # of bert-base-uncased
LARGEST = 1_000_000
FREQUENCY = 2
CHARACTER_SHARE = 3  # characters take at most one token in so many; with the pieces inside words, two
LONGEST_WORD = 100  # characters; longer words are unknown (BERT's tokenizer)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens by their numbers, and how texts are made ready for them.

    cased    upper and lower case stay apart.
    accents  accents stay; None: as the case does.
    chinese  each Chinese character is a word of its own.
    """

    tokens: tuple[str, ...]
    cased: bool = False
    accents: bool | None = None
    chinese: bool = True

    def save(self, folder: Path, *, max_tokens: int = 512) -> Tokenizer:
        """Write `vocab.txt`, `tokenizer_config.json` and `tokenizer.json` into a folder; the tokenizer that they make
        comes back. `max_tokens` is the longest input that transformers is told of."""
        write_bytes(folder / VOCAB, "".join(f"{token}\n" for token in self.tokens).encode())
        write_bytes(folder / TOKENIZER_CONFIG, (json.dumps(self._config(max_tokens), indent=2) + "\n").encode())
        backend = load_tokenizer(folder).backend
        write_bytes(folder / TOKENIZER_JSON, (backend.to_str(pretty=True) + "\n").encode())
        return load_tokenizer(folder)

    def _config(self, max_tokens: int) -> dict[str, Any]:
        names = ("pad", "unk", "cls", "sep", "mask")
        return {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": not self.cased,
            "strip_accents": None if self.accents is None else not self.accents,
            "tokenize_chinese_chars": self.chinese,
            "model_max_length": max_tokens,
            **{f"{name}_token": token for name, token in zip(names, SPECIAL, strict=True)},
        }


def train_vocabulary(
    texts: Iterable[str],
    *,
    size: int = SIZE,
    cased: bool = False,
    accents: bool | None = None,
    chinese: bool = True,
    min_frequency: int = FREQUENCY,
) -> Vocabulary:
    """Learn at most `size` tokens from texts, which are read three times.

    min_frequency  how often a character, or two neighbours that become one token, must occur.

    The rarest characters are left out where they would take more than a third of the vocabulary; words with such a
    character are unknown. Source: Schuster and Nakajima 2012, section 3; the pieces are joined by frequency, as by the
    library's WordPieceTrainer. Raises SpecError for a size that does not hold the characters, SourceError for no text.
    """
    if not len(SPECIAL) < size <= LARGEST:
        raise SpecError(f"size of a vocabulary must be from {len(SPECIAL) + 1} to {LARGEST:,}, not {size:,}")
    if min_frequency < 1:
        raise SpecError(f"min_frequency must be at least 1, not {min_frequency}")
    if isinstance(texts, Iterator):
        raise SpecError("texts are read three times: give a list, or an iterable that begins anew each time")
    normalizer = _normalizer(cased=cased, accents=accents, chinese=chinese)
    n_characters = _n_characters(texts, normalizer, most=size // CHARACTER_SHARE, least=min_frequency)
    # Without room for a merge, the trainer gives the pieces that merging begins with; given back as special tokens,
    # they have numbers that do not depend on its hash table.
    pieces = sorted(_trained(texts, normalizer, 0, SPECIAL, n_characters, min_frequency)[len(SPECIAL) :])
    if len(SPECIAL) + len(pieces) > size:
        raise SpecError(
            f"a vocabulary of {size:,} tokens does not hold the {len(pieces):,} pieces of single characters that these "
            f"texts begin with; give a size of at least {len(SPECIAL) + len(pieces):,}, and rather ten times as many"
        )
    found = _trained(texts, normalizer, size, (*SPECIAL, *pieces), n_characters, min_frequency)
    return Vocabulary(tuple(found), cased, accents, chinese)


def _normalizer(*, cased: bool, accents: bool | None, chinese: bool) -> Normalizer:
    from tokenizers import normalizers

    return normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=chinese,
        strip_accents=None if accents is None else not accents,
        lowercase=not cased,
    )


def _n_characters(texts: Iterable[str], normalizer: Normalizer, *, most: int, least: int) -> int:
    """How many of the commonest characters are kept: no two that are equally common are told apart, since which one
    stays would be another on every run."""
    counts: Counter[str] = Counter()
    for row, text in enumerate(texts):
        try:
            counts.update(guarded(lambda: normalizer.normalize_str(text)))  # noqa: B023 - called at once
        except TokenizerError:
            raise SourceError(f"text {row} is no Unicode text: no vocabulary can be learnt from it") from None
    ordered = sorted((n for character, n in counts.items() if not character.isspace() and n >= least), reverse=True)
    if not ordered:
        raise SourceError("there is no text to learn a vocabulary from")
    if len(ordered) <= most:
        return len(ordered)
    return sum(n > ordered[most] for n in ordered)


def _trained(
    texts: Iterable[str],
    normalizer: Normalizer,
    size: int,
    special: tuple[str, ...],
    n_characters: int,
    min_frequency: int,
) -> list[str]:
    """The tokens that the library's trainer finds, by their numbers."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, pre_tokenizers, trainers

    backend = Backend(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD))  # noqa: S106
    backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        special_tokens=list(special),
        limit_alphabet=n_characters,
        continuing_subword_prefix=CONTINUES,
        show_progress=False,
    )
    try:
        guarded(lambda: backend.train_from_iterator(iter(texts), trainer))
    except TokenizerError as error:
        raise SourceError(f"no vocabulary can be learnt from these texts: {error}") from None
    numbers: dict[str, int] = backend.get_vocab(with_added_tokens=True)
    return sorted(numbers, key=lambda token: numbers[token])
