"""Proves that the tokenizer gives the ids of transformers, and offsets into the string as it was given."""

from __future__ import annotations

import json
from pathlib import Path
from unicodedata import category

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.errors import CheckpointError, TextError
from lamina.text.tokenizer import Tokenizer, load_tokenizer
from tests.checkpoints import VOCABULARY, save_vocabulary
from tests.samples import BARE, TEXTS

OPTIONS = [
    {},
    {"do_lower_case": False},
    {"do_lower_case": False, "strip_accents": True},
    {"do_lower_case": True, "strip_accents": False},
    {"do_lower_case": False, "strip_accents": False},
    {"tokenize_chinese_chars": False},
    {"do_lower_case": False, "tokenize_chinese_chars": False},
]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return load_tokenizer(save_vocabulary(tmp_path_factory.mktemp("own")))


def assert_same_ids(folder: Path, texts: list[str]) -> None:
    """The ids of a folder's tokenizer are those of transformers, text by text."""
    from transformers import BertTokenizerFast

    tokens = load_tokenizer(folder).encode(texts)
    expected = BertTokenizerFast.from_pretrained(folder)(texts)["input_ids"]
    for i, text in enumerate(texts):
        assert tokens.ids[tokens.bounds[i] : tokens.bounds[i + 1]].tolist() == expected[i], text


@pytest.mark.parametrize("config", OPTIONS, ids=str)
def test_ids_from_a_vocabulary_are_those_of_transformers(tmp_path: Path, config: dict[str, bool]) -> None:
    more = ["ß", "é", "e", "É", "İ", "##é", "##e", "C", "##a", "東", "##東", "東京", "Я", "я", "##я", "ё", "##̈"]
    assert_same_ids(save_vocabulary(tmp_path, [*VOCABULARY, *dict.fromkeys(more).keys() - {"e"}], **config), TEXTS)


@pytest.mark.parametrize(
    ("name", "config"),
    [("uncased", option) for option in OPTIONS] + [("cased", {"do_lower_case": False}), ("chinese", {})],
    ids=str,
)
def test_ids_from_published_vocabularies_are_those_of_transformers(
    shared_data: Path, tmp_path: Path, name: str, config: dict[str, bool]
) -> None:
    tokens = (shared_data / "vocab" / f"bert-base-{name}-vocab.txt").read_bytes().decode().splitlines()
    naughty = json.loads((shared_data / "naughty_strings" / "blns.json").read_text("utf-8"))
    assert_same_ids(save_vocabulary(tmp_path, tokens, **config), TEXTS + BARE + naughty)


def test_the_vocabulary_is_read_by_newlines_alone(tmp_path: Path) -> None:
    folder = save_vocabulary(tmp_path, [*VOCABULARY, "\u2028", "\x85", "last"])
    (folder / "vocab.txt").write_bytes((folder / "vocab.txt").read_bytes().replace(b"\n", b"\r\n"))
    tokenizer = load_tokenizer(folder)
    assert tokenizer.n_ids == len(VOCABULARY) + 3
    assert tokenizer.piece(len(VOCABULARY) + 2) == "last"
    assert tokenizer.piece(0) == "[PAD]"


def test_other_names_of_special_tokens_are_honoured(tmp_path: Path) -> None:
    renamed = {"[UNK]": "<unk>", "[CLS]": "<s>", "[SEP]": "</s>"}
    config = {"unk_token": "<unk>", "cls_token": {"content": "<s>", "lstrip": False}, "sep_token": "</s>"}
    folder = save_vocabulary(tmp_path, [renamed.get(token, token) for token in VOCABULARY], **config)
    tokenizer = load_tokenizer(folder)
    names = [tokenizer.piece(int(i)) for i in tokenizer.encode(["the ∞ bank"]).ids]
    assert names == ["<s>", "the", "<unk>", "bank", "</s>"]


def test_tokenizer_json_wins_over_a_vocabulary(tmp_path: Path) -> None:
    from transformers import BertTokenizerFast

    BertTokenizerFast(vocab=str(save_vocabulary(tmp_path / "made") / "vocab.txt")).save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("[UNK]\n[CLS]\n[SEP]\n")
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.source.endswith("tokenizer.json")
    assert tokenizer.n_ids == len(VOCABULARY)


def test_padding_and_truncation_stored_with_a_tokenizer_are_switched_off(tmp_path: Path, own: Tokenizer) -> None:
    from tokenizers import Tokenizer as Backend

    backend = Backend.from_str(own.backend.to_str())
    backend.enable_truncation(5)
    backend.enable_padding(length=5)
    backend.save(str(tmp_path / "tokenizer.json"))
    tokens = load_tokenizer(tmp_path).encode(["a", "a b c d e f g h"])
    assert np.diff(tokens.bounds).tolist() == [3, 10]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"has no tokenizer: .*tokenizer\.json.*vocab\.txt"),
        ({"tokenizer.json": b"{}"}, "tokenizer.json cannot be read"),
        ({"tokenizer.json": b"\xff\x00"}, "tokenizer.json cannot be read"),
        ({"vocab.txt": b""}, r"no \[UNK\], \[CLS\], \[SEP\]"),
        ({"vocab.txt": b"[UNK]\n[CLS]\na\n"}, r"no \[SEP\]"),
        ({"vocab.txt": b"[UNK]\n\xff\n"}, r"vocab\.txt .*(?i:utf-8)"),
        ({"vocab.txt": b"[UNK]\n[CLS]\n[SEP]\n", "tokenizer_config.json": b"{"}, "no JSON"),
        ({"vocab.txt": b"[UNK]\n[CLS]\n[SEP]\n", "tokenizer_config.json": b"[]"}, "no tokenizer configuration"),
        (
            {"vocab.txt": b"[UNK]\n[CLS]\n[SEP]\n", "tokenizer_config.json": b'{"strip_accents": "yes"}'},
            "no tokenizer configuration",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_tokenizer_that_cannot_be_read_is_refused_by_its_file(
    tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load_tokenizer(tmp_path)


def test_equal_tokenizers_have_equal_hashes_and_others_have_not(tmp_path: Path, own: Tokenizer) -> None:
    assert load_tokenizer(save_vocabulary(tmp_path / "same")).sha256 == own.sha256
    assert load_tokenizer(save_vocabulary(tmp_path / "cased", do_lower_case=False)).sha256 != own.sha256
    assert load_tokenizer(save_vocabulary(tmp_path / "more", [*VOCABULARY, "more"])).sha256 != own.sha256


def test_a_text_that_is_none_is_named_by_its_row(own: Tokenizer) -> None:
    with pytest.raises(TextError, match=r"text 2 holds half a surrogate pair \(U\+DC00\) at character 3") as caught:
        own.encode(["a", "b", "one\udc00"])
    assert caught.value.row == 2


def test_offsets_cut_the_pieces_out_of_a_text_that_is_not_normalized(shared_data: Path, tmp_path: Path) -> None:
    cased = (shared_data / "vocab" / "bert-base-cased-vocab.txt").read_bytes().decode().splitlines()
    tokenizer = load_tokenizer(save_vocabulary(tmp_path, cased, do_lower_case=False))
    tokens = tokenizer.encode(TEXTS)
    unknown = cased.index("[UNK]")
    n_compared = 0
    for i, text in enumerate(TEXTS):
        for t in range(tokens.bounds[i] + 1, tokens.bounds[i + 1] - 1):
            surface = "".join(c for c in text[tokens.starts[t] : tokens.ends[t]] if category(c)[0] != "C")  # dropped
            if tokens.ids[t] == unknown:
                assert surface
            else:
                assert surface == tokenizer.piece(int(tokens.ids[t])).removeprefix("##")
                n_compared += 1
    assert n_compared > 300


def test_offsets_point_into_the_original_where_the_text_is_normalized(own: Tokenizer) -> None:
    text = "  The\u00a0B\u00c1NK\x07,  bi\u0301g 河😀水"
    tokens = own.encode([text])
    found = [(own.piece(int(i)), text[s:e]) for i, s, e in zip(tokens.ids, tokens.starts, tokens.ends, strict=True)][
        1:-1
    ]
    assert found[:2] == [("the", "The"), ("bank", "BÁNK")]
    assert ("河", "河") in found
    assert ("水", "水") in found
    assert "".join(surface for _, surface in found if surface in ("b", "i", "i\u0301", "g")).startswith("bi")
    assert (tokens.starts[-1], tokens.ends[-1]) == (len(text), len(text))
    assert (tokens.starts[0], tokens.ends[0]) == (0, 0)


@given(st.lists(st.text(max_size=40), max_size=5))
def test_offsets_of_any_text_stay_inside_it_and_never_decrease(own: Tokenizer, texts: list[str]) -> None:
    tokens = own.encode(texts)
    assert tokens.lengths.tolist() == [len(text) for text in texts]
    for i, text in enumerate(texts):
        of_text = slice(tokens.bounds[i], tokens.bounds[i + 1])
        starts, ends = tokens.starts[of_text], tokens.ends[of_text]
        assert (np.diff(starts) >= 0).all()
        assert (np.diff(ends) >= 0).all()
        assert (starts[1:-1] < ends[1:-1]).all()
        assert ends.max() <= len(text)


@given(st.lists(st.text(max_size=40), min_size=1, max_size=5))
def test_a_text_is_tokenized_alike_alone_and_among_others(own: Tokenizer, texts: list[str]) -> None:
    together = own.encode(texts)
    for i, text in enumerate(texts):
        alone = own.encode([text])
        of_text = slice(together.bounds[i], together.bounds[i + 1])
        for name in ("ids", "starts", "ends"):
            assert getattr(together, name)[of_text].tolist() == getattr(alone, name).tolist()


def test_no_text_at_all_gives_no_token(own: Tokenizer) -> None:
    tokens = own.encode([])
    assert (tokens.ids.size, tokens.bounds.tolist(), tokens.counts.tolist()) == (0, [0], [])
