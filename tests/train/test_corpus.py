"""Proves that a corpus holds its documents token for token, apart, and that passages and pairs are made of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lamina.errors import DatasetError, SourceError, SpecError
from lamina.text.breaks import word_ranges
from lamina.text.source import Source
from lamina.text.tokenizer import Tokenizer, load_tokenizer
from lamina.train.corpus import Corpus, FileTexts, documents_of, make_corpus, open_corpus
from lamina.train.passages import NEXT, OTHER, Around, Flat, Pairs, Pieces, split_documents
from tests.checkpoints import save_vocabulary
from tests.samples import BARE, TEXTS, prose

DOCUMENTS = [[prose(n, start=11 * n)] for n in (1, 2, 40, 3, 9, 17, 1, 25)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return load_tokenizer(save_vocabulary(tmp_path_factory.mktemp("vocabulary")))


@pytest.fixture(scope="module")
def corpus(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(DOCUMENTS, tokenizer, tmp_path_factory.mktemp("corpus"), sentences=True)


def own_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    tokens = tokenizer.encode([text])
    return list(tokens.ids[~tokens.special])


def test_every_document_is_there_token_for_token(corpus: Corpus, tokenizer: Tokenizer) -> None:
    assert corpus.n_documents == len(DOCUMENTS)
    bounds = corpus.document_bounds
    for n, (text,) in enumerate(DOCUMENTS):
        assert corpus.ids[bounds[n] : bounds[n + 1]].tolist() == own_ids(tokenizer, text)
    assert corpus.ids.dtype == np.uint16
    assert isinstance(corpus.ids, np.memmap)


def test_sentences_are_those_of_the_text(corpus: Corpus, tokenizer: Tokenizer) -> None:
    first, last = corpus.documents[4:6].tolist()
    sentences = [s + "." for s in DOCUMENTS[4][0].removesuffix(".").split(". ")]
    assert last - first == len(sentences) == 9
    for s, sentence in enumerate(sentences, start=first):
        assert corpus.ids[corpus.sentences[s] : corpus.sentences[s + 1]].tolist() == own_ids(tokenizer, sentence)


def test_tokens_inside_words_are_those_that_share_one(tokenizer: Tokenizer, tmp_path: Path) -> None:
    corpus = make_corpus([[text] for text in TEXTS], tokenizer, tmp_path)
    tokens = tokenizer.encode(TEXTS)
    expected = []
    for i, text in enumerate(TEXTS):
        for t in range(tokens.bounds[i], tokens.bounds[i + 1]):
            if tokens.special[t]:
                continue
            before = t - 1
            expected.append(
                any(
                    tokens.starts[t] < high and tokens.ends[t] > low
                    and not tokens.special[before]
                    and tokens.starts[before] < high and tokens.ends[before] > low
                    for low, high in word_ranges(text)
                )
            )  # fmt: skip
    assert corpus.inside.tolist() == expected
    assert 0 < sum(expected) < len(expected)


def test_what_is_empty_is_no_document_and_the_rest_stays_apart(tokenizer: Tokenizer, tmp_path: Path) -> None:
    texts = [text for bare in BARE for text in (bare, "the river.")]
    corpus = make_corpus(documents_of(texts, "rows"), tokenizer, tmp_path, sentences=True)
    assert (np.diff(corpus.sentences) > 0).all()
    assert (np.diff(corpus.documents) > 0).all()
    tokens = tokenizer.encode([text for text in texts if text.strip()])
    assert corpus.n_tokens == int((~tokens.special).sum())
    with_tokens = sum(bool(own_ids(tokenizer, text)) for text in texts)
    assert corpus.n_documents == with_tokens


def test_blank_lines_part_documents_whose_lines_are_sentences(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "books.txt").write_text("\n\nthe river\nthe bank.\n\n \nhere\n\n")
    texts = FileTexts(Source(str(tmp_path / "books.txt")))
    assert list(documents_of(texts, "blank")) == [["the river", "the bank."], ["here"]]
    corpus = make_corpus(documents_of(texts, "blank"), tokenizer, tmp_path / "corpus", sentences=True)
    assert corpus.documents.tolist() == [0, 2, 3]
    assert list(documents_of(texts, "rows")) == [["the river"], ["the bank."], ["here"]]


@pytest.mark.parametrize("name", ["data.jsonl", "data.parquet", "data.csv"])
def test_other_files_give_the_same_corpus(tokenizer: Tokenizer, tmp_path: Path, name: str) -> None:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    table = pa.table({"body": [text for (text,) in DOCUMENTS], "n": list(range(len(DOCUMENTS)))})
    path = tmp_path / name
    if name.endswith("jsonl"):
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    elif name.endswith("csv"):
        pyarrow.csv.write_csv(table, path)
    else:
        pyarrow.parquet.write_table(table, path)
    texts = FileTexts(Source(str(path), text="body"))
    corpus = make_corpus(documents_of(texts, "rows"), tokenizer, tmp_path / "corpus")
    expected = make_corpus(DOCUMENTS, tokenizer, tmp_path / "expected")
    assert corpus.sha256 == expected.sha256
    assert corpus.documents.tolist() == list(range(len(DOCUMENTS) + 1))  # each one sentence


def test_the_pieces_in_which_texts_are_tokenized_change_nothing(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_corpus(DOCUMENTS, tokenizer, tmp_path / "whole", sentences=True)
    monkeypatch.setattr("lamina.train.corpus.TEXTS", 3)
    monkeypatch.setattr("lamina.train.corpus.CHARACTERS", 100)
    pieces = make_corpus(DOCUMENTS, tokenizer, tmp_path / "pieces", sentences=True)
    assert whole.sha256 == pieces.sha256
    assert np.array_equal(whole.inside, pieces.inside)


def test_an_unfinished_or_damaged_corpus_is_not_opened(tokenizer: Tokenizer, tmp_path: Path) -> None:
    def broken() -> object:
        yield ["the river"]
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        make_corpus(broken(), tokenizer, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match=r"no corpus: there is no corpus\.json"):
        open_corpus(tmp_path)
    make_corpus(DOCUMENTS, tokenizer, tmp_path)
    with (tmp_path / "ids.bin").open("ab") as file:
        file.write(b"12")
    with pytest.raises(DatasetError, match="damaged"):
        open_corpus(tmp_path)


def test_a_corpus_without_a_token_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no token"):
        make_corpus([["\u200b"]], tokenizer, tmp_path)


def test_pieces_cover_every_token_once_in_even_lengths(corpus: Corpus, tokenizer: Tokenizer) -> None:
    pieces = Pieces.of(corpus, Around.of(tokenizer), np.arange(corpus.n_documents), max_tokens=32)
    assert pieces.starts[0] == 0
    assert pieces.ends[-1] == corpus.n_tokens
    assert np.array_equal(pieces.starts[1:], pieces.ends[:-1])
    assert pieces.lengths().max() <= 32
    bounds = corpus.document_bounds
    for n in range(corpus.n_documents):
        own = np.flatnonzero((pieces.starts >= bounds[n]) & (pieces.ends <= bounds[n + 1]))
        sizes = pieces.ends[own] - pieces.starts[own]
        assert sizes.sum() == bounds[n + 1] - bounds[n]
        assert own.size == -(-sizes.sum() // 30)
        assert sizes.max() - sizes.min() <= 1


def test_an_example_is_what_the_tokenizer_gives(corpus: Corpus, tokenizer: Tokenizer) -> None:
    pieces = Pieces.of(corpus, Around.of(tokenizer), np.arange(corpus.n_documents), max_tokens=2000)
    flat = pieces.examples([2, 0], np.random.default_rng(0))
    tokens = tokenizer.encode([DOCUMENTS[2][0], DOCUMENTS[0][0]])
    assert flat.ids.tolist() == tokens.ids.tolist()
    assert flat.bounds.tolist() == tokens.bounds.tolist()
    assert flat.special.tolist() == tokens.special.tolist()
    assert not flat.types.any()
    batch = flat.batch(flat.ids)
    for row in range(2):
        n = int(batch.lengths[row])
        assert batch.ids[row, :n].tolist() == tokens.ids[tokens.bounds[row] : tokens.bounds[row + 1]].tolist()
        assert not batch.ids[row, n:].any()


def parts_of(flat: Flat, k: int, around: Around) -> tuple[list[int], list[int]]:
    """The two halves of a pair, and that its special tokens and segments are where they belong."""
    low, high = flat.bounds[k : k + 2].tolist()
    types, special = flat.types[low:high], flat.special[low:high]
    assert flat.ids[low] == around.before[0]
    assert flat.ids[high - 1] == around.after[0]
    middle = int(np.flatnonzero(special)[1])
    assert special.sum() == 3
    assert types.tolist() == [0] * (middle + 1) + [1] * (high - low - middle - 1)
    return flat.ids[low + 1 : low + middle].tolist(), flat.ids[low + middle + 1 : high - 1].tolist()


@pytest.mark.parametrize("max_tokens", [24, 64, 200])
def test_pairs_follow_or_are_of_another_document(corpus: Corpus, tokenizer: Tokenizer, max_tokens: int) -> None:
    around = Around.of(tokenizer)
    pairs = Pairs.of(corpus, around, np.arange(corpus.n_documents), max_tokens=max_tokens)
    rng = np.random.default_rng(0)
    which = list(range(len(pairs.lengths()))) * 20
    flat = pairs.examples(which, rng)
    assert (np.diff(flat.bounds) <= pairs.lengths()[which]).all()
    assert np.diff(flat.bounds).max() <= max_tokens
    everything = "".join(map(chr, corpus.ids.tolist()))
    bounds = corpus.document_bounds
    n_next = n_could = 0
    for k, i in enumerate(which):
        one, two = ("".join(map(chr, part)) for part in parts_of(flat, k, around))
        assert one
        assert two
        place = everything.index(one, int(corpus.sentences[pairs.first[i]]))
        assert place == corpus.sentences[pairs.first[i]]
        document = int(np.searchsorted(bounds, place, side="right")) - 1
        own = everything[bounds[document] : bounds[document + 1]]
        is_next = flat.follows[k] == NEXT
        assert is_next or flat.follows[k] == OTHER
        if is_next:
            assert one + two in own
        else:
            assert any(two in everything[bounds[n] : bounds[n + 1]] for n in range(corpus.n_documents) if n != document)
        could = pairs.last[i] - pairs.first[i] > 1
        n_could += int(could)
        n_next += int(is_next)
        assert could or not is_next
    assert abs(n_next - n_could / 2) <= 5 * np.sqrt(0.25 * n_could)
    assert n_could or max_tokens == 24  # no two sentences fit there


def test_runs_hold_every_sentence_once(corpus: Corpus, tokenizer: Tokenizer) -> None:
    pairs = Pairs.of(corpus, Around.of(tokenizer), np.arange(corpus.n_documents), max_tokens=40)
    assert pairs.first[0] == 0
    assert np.array_equal(pairs.first[1:], pairs.last[:-1])
    assert pairs.last[-1] == corpus.sentences.size - 1


def test_documents_are_split_once_and_for_all() -> None:
    own, out = split_documents(1000, held_out=0.05, seed=3)
    assert out.size == 50
    assert np.array_equal(np.sort(np.concatenate((own, out))), np.arange(1000))
    assert np.array_equal(split_documents(1000, held_out=0.05, seed=3)[1], out)
    assert not np.array_equal(split_documents(1000, held_out=0.05, seed=4)[1], out)
    assert split_documents(5, held_out=0, seed=0)[1].size == 0
    assert split_documents(5, held_out=0.001, seed=0)[1].size == 1
    with pytest.raises(SpecError, match="too few"):
        split_documents(1, held_out=0.5, seed=0)


@pytest.mark.parametrize("make", [Pieces.of, Pairs.of])
def test_a_length_without_room_is_refused(corpus: Corpus, tokenizer: Tokenizer, make: object) -> None:
    with pytest.raises(SpecError, match="max_tokens must be more than"):
        make(corpus, Around.of(tokenizer), np.arange(2), max_tokens=2)  # type: ignore[operator]


def test_pairs_of_one_document_are_refused(corpus: Corpus, tokenizer: Tokenizer) -> None:
    with pytest.raises(SpecError, match="two documents"):
        Pairs.of(corpus, Around.of(tokenizer), np.array([3]), max_tokens=64)
