"""Proves that a vocabulary is the same on every run, and cuts here as it cuts in transformers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamina.errors import SourceError, SpecError
from lamina.text.tokenizer_files import TOKENIZER_JSON, VOCAB
from lamina.train.vocabulary import SPECIAL, Vocabulary, train_vocabulary
from tests.samples import SCRIPTS, TEXTS, prose

ENGLISH = [prose(40, start=7 * i) for i in range(30)]


def test_the_special_tokens_come_first_and_no_token_twice() -> None:
    tokens = train_vocabulary(ENGLISH, size=200).tokens
    assert tokens[: len(SPECIAL)] == SPECIAL
    assert len(set(tokens)) == len(tokens) <= 200
    assert {"river", "layer"} <= set(tokens)  # words that stand in it often


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_another_process_numbers_the_tokens_alike(hash_seed: str) -> None:
    script = (
        "from tests.train.test_vocabulary import ENGLISH, TEXTS\nfrom lamina.train.vocabulary import train_vocabulary\n"
        "print('|'.join(train_vocabulary(ENGLISH + TEXTS, size=900, min_frequency=1).tokens).encode().hex())"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root,
        env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root)},
    )  # fmt: skip
    own = train_vocabulary(ENGLISH + TEXTS, size=900, min_frequency=1).tokens
    assert bytes.fromhex(done.stdout.strip()).decode().split("|") == list(own)


@pytest.mark.parametrize(
    ("cased", "accents", "chinese"), [(False, None, True), (True, None, False), (False, True, True)]
)
def test_a_saved_vocabulary_cuts_as_transformers_does(
    tmp_path: Path, cased: bool, accents: bool | None, chinese: bool
) -> None:
    from transformers import BertTokenizerFast

    vocabulary = train_vocabulary(
        ENGLISH + TEXTS, size=3000, min_frequency=1, cased=cased, accents=accents, chinese=chinese
    )
    ours = vocabulary.save(tmp_path)
    theirs = BertTokenizerFast.from_pretrained(tmp_path)
    tokens = ours.encode(TEXTS)
    for i, text in enumerate(TEXTS):
        assert tokens.ids[tokens.bounds[i] : tokens.bounds[i + 1]].tolist() == theirs(text)["input_ids"]
    (tmp_path / TOKENIZER_JSON).unlink()  # the vocabulary and its configuration alone say the same
    from lamina.text.tokenizer import load_tokenizer

    assert load_tokenizer(tmp_path).encode(TEXTS).ids.tolist() == tokens.ids.tolist()
    assert (tmp_path / VOCAB).read_text().splitlines() == list(vocabulary.tokens)


def test_case_accents_and_chinese_characters(tmp_path: Path) -> None:
    texts = ["Été Été Café", "河水河水慢慢"] * 5

    def pieces(**options: bool | None) -> set[str]:
        return set(train_vocabulary(texts, size=90, **options).tokens)

    assert "ete" in pieces()
    assert "été" in pieces(accents=True)
    assert "Été" in pieces(cased=True)
    assert "Ete" in pieces(cased=True, accents=False)
    assert not any("河水" in token for token in pieces())
    assert any("河水" in token for token in pieces(chinese=False))


def test_the_rarest_characters_go_where_they_would_take_too_much() -> None:
    common, rare = "abcde" * 30, "".join(chr(0x4E00 + i) for i in range(200))
    tokens = train_vocabulary([common, rare], size=60, min_frequency=1).tokens
    assert {"a", "##b"} <= set(tokens)
    assert not any("\u4e00" <= token[-1] <= "\u4fff" for token in tokens)  # 200 alike: none stays rather than some
    assert len([t for t in train_vocabulary([common, rare], size=900, min_frequency=1).tokens if len(t) == 1]) > 200


@pytest.mark.parametrize("size", [0, 5, 10**7])
def test_a_size_that_cannot_be_is_refused(size: int) -> None:
    with pytest.raises(SpecError, match="size of a vocabulary must be from 6 to 1,000,000"):
        train_vocabulary(ENGLISH, size=size)


def test_a_size_that_holds_no_characters_says_how_many_are_needed() -> None:
    with pytest.raises(SpecError, match=r"give a size of at least \d+"):
        train_vocabulary(ENGLISH, size=8)


def test_what_can_be_read_once_only_is_refused() -> None:
    def once() -> Iterator[str]:
        yield "a text"

    with pytest.raises(SpecError, match="read three times"):
        train_vocabulary(once(), size=100)


@pytest.mark.parametrize("texts", [[], [""], [" \n", "\t"]])
def test_nothing_to_learn_from_is_said(texts: list[str]) -> None:
    with pytest.raises(SourceError, match="no text"):
        train_vocabulary(texts, size=100)


def test_what_is_no_unicode_is_said() -> None:
    with pytest.raises(SourceError, match="text 1 is no Unicode"):
        train_vocabulary(["a text", "half \ud800"], size=100)


def test_many_scripts_are_taken(tmp_path: Path) -> None:
    vocabulary = train_vocabulary(list(SCRIPTS.values()), size=2500, min_frequency=1)
    tokenizer = vocabulary.save(tmp_path)
    unknown = tokenizer.encode([SCRIPTS["russian"], SCRIPTS["thai"], SCRIPTS["arabic"]]).ids == 1
    assert not unknown.any()
    assert isinstance(vocabulary, Vocabulary)
