"""Proves that sentences of CoNLL and CoNLL-U are read as they stand, and that a broken line is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamina.errors import SourceError
from lamina.text.conll import read_sentences
from lamina.text.source import Source
from lamina.text.text import Text

UNIVERSAL = """\
# text = She can't swim.
1\tShe\tshe\tPRON\tPRP\t_\t4\tnsubj\t_\t_
2-3\tcan't\t_\t_\t_\t_\t_\t_\t_\t_
2\tca\tcan\tAUX\tMD\t_\t4\taux\t_\t_
3\tn't\tnot\tPART\tRB\t_\t4\tadvmod\t_\t_
4\tswim\tswim\t_\tVB\t_\t0\troot\t_\t_
4.1\tthere\t_\t_\t_\t_\t_\t_\t_\t_

# newpar
1\t_\t_\tSYM\tNFP\t_\t0\troot\t_\t_
"""


def read(text: str, **how: object) -> list[dict[str, list[str | None]]]:
    return [sentence.columns for sentence in read_sentences(text.splitlines(keepends=True), path="a.conll", **how)]


def test_the_first_column_is_the_word_and_the_last_its_tag() -> None:
    text = "Eva\tNNP\tB-NP\tB-PER\nslept\tVBD\tB-VP\tO\n\n\n\t\nParis\tNNP\tB-NP\tB-LOC"
    assert read(text) == [
        {"words": ["Eva", "slept"], "tags": ["B-PER", "O"]},
        {"words": ["Paris"], "tags": ["B-LOC"]},
    ]


def test_columns_are_called_as_one_likes() -> None:
    text = "Eva NNP  B-PER\r\nslept VBD O\r\n"
    assert read(text, columns=("words", "pos", "tags")) == [
        {"words": ["Eva", "slept"], "pos": ["NNP", "VBD"], "tags": ["B-PER", "O"]}
    ]
    assert read(text, columns=("words", "_")) == [{"words": ["Eva", "slept"]}]


def test_words_alone_have_no_tags() -> None:
    assert read("one\ntwo\n\nthree\n") == [{"words": ["one", "two"]}, {"words": ["three"]}]


def test_universal_leaves_out_what_is_no_word_of_its_own() -> None:
    assert read(UNIVERSAL, universal=True) == [
        {"words": ["She", "ca", "n't", "swim"], "tags": ["PRON", "AUX", "PART", None]},
        {"words": ["_"], "tags": ["SYM"]},
    ]
    assert read(UNIVERSAL, universal=True, columns=("_", "words", "_", "_", "xpos"))[1]["xpos"] == ["NFP"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# id 7 domain=en\nOslo _ _ B-LOC\n", ["Oslo"]),  # as many columns as a word has
        ("# O\nOslo B-LOC\n", ["#", "Oslo"]),
        ("#\tO\n#snow\tO\n", ["#", "#snow"]),
        ("#snow O\n# id 7\n", ["#snow"]),  # refused below: a comment inside a sentence is none
        ("-DOCSTART- -X- O\n\nOslo NNP B-LOC\n", ["Oslo"]),
        ("a\u3000b\tO\n", ["a\u3000b"]),
    ],
)
def test_a_comment_is_no_word_and_a_hash_is_no_comment(text: str, words: list[str]) -> None:
    if "\n# id 7" in text:
        with pytest.raises(SourceError, match="line 2: 3 columns; expected 2"):
            read(text)
    else:
        assert [word for sentence in read(text) for word in sentence["words"]] == words


@pytest.mark.parametrize(
    ("text", "how", "reason"),
    [
        ("a\tO\nb\n", {}, "a.conll, line 2: 1 columns; expected 2"),
        ("a\tO\n\n\tO\n", {}, "a.conll, line 3: the word is empty"),
        ("a\tO\n", {"columns": ("words", "pos", "tags")}, "2 columns, and 3 names"),
        ("a\tb\tO\n", {"columns": ("words", "x", "x")}, "one name"),
        ("1\ta\n", {"universal": True}, "line 1: 2 columns; expected 10"),
        ("a" + "\t_" * 9, {"universal": True}, "line 1: the first column holds no id of CoNLL-U"),
    ],
)
def test_a_broken_line_is_named(text: str, how: dict[str, object], reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        read(text, **how)


def test_a_source_gives_words_and_a_list_of_tags(tmp_path: Path) -> None:
    path = tmp_path / "swim.conllu"
    path.write_text("\ufeff" + UNIVERSAL, encoding="utf-8")
    (rows,) = Source(str(path)).rows()
    assert rows.texts == [Text.of_words(["She", "ca", "n't", "swim"]), Text.of_words(["_"])]
    assert rows.columns.to_pydict() == {"tags": ['["PRON", "AUX", "PART", null]', '["SYM"]']}


def test_a_source_says_what_is_wrong_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.train"
    path.write_bytes(b"a\tO\n\xff\tO\n")
    with pytest.raises(SourceError, match=r"a\.train, line 2: byte 0xFF"):
        list(Source(str(path), "conll").rows())
    path.write_text("a\tO\n")
    with pytest.raises(SourceError, match="no column 'words'; it has form"):
        list(Source(str(path), "conll", columns=("form",)).rows())
    with pytest.raises(SourceError, match="holds words, not texts"):
        list(Source(str(path), "conll", text="words").rows())
    path.write_text("\n\n# x\n")
    assert list(Source(str(path), "conll").rows()) == []


def test_public_data_are_read_whole(shared_data: Path) -> None:
    """Counts by `grep`; the sets' own pages say 3,394 and 2,001 sentences."""
    for name, n_sentences, n_words in (
        ("wnut17/wnut17train.conll", 3394, 62730),
        ("ud_english_ewt/en_ewt-ud-dev.conllu", 2001, 25147),
    ):
        texts = [text for rows in Source(str(shared_data / name)).rows() for text in rows.texts]
        assert (len(texts), sum(len(text.words) for text in texts)) == (n_sentences, n_words)
