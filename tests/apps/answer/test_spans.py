"""Proves the choice of spans and sentences against trying all of them, and a head's answers against transformers'."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lamina
from lamina.apps.answer.spans import Sentences, best_span, head_answers
from lamina.errors import SpecError
from lamina.extraction.extractor import Extractor
from lamina.text.text import Text
from tests.checkpoints import VOCABULARY, save_vocabulary

NUMBERS = st.one_of(st.integers(-3, 3).map(float), st.just(float("nan")))


def slowly(starts: np.ndarray, ends: np.ndarray, longest: int) -> tuple[int, int, float]:
    """Every span, the first of the best."""
    spans = [
        (-float(starts[i] + ends[j]), i, j)
        for i in range(len(starts))
        for j in range(i, min(len(starts), i + longest))
        if not np.isnan(starts[i] + ends[j])
    ]
    score, i, j = min(spans)
    return i, j, -score


@settings(max_examples=200, deadline=None)
@given(pairs=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=12), longest=st.integers(1, 14))
def test_the_best_span_of_all(pairs: list[tuple[float, float]], longest: int) -> None:
    starts, ends = np.array(pairs, np.float32).T
    try:
        expected = slowly(starts, ends, longest)
    except ValueError:
        with pytest.raises(SpecError):
            best_span(starts, ends, longest=longest)
        return
    assert best_span(starts, ends, longest=longest) == expected


def test_no_token_no_span() -> None:
    with pytest.raises(SpecError):
        best_span(np.zeros(0, np.float32), np.zeros(0, np.float32))


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    """A small random model with a question-answering head."""
    import torch
    from transformers import BertConfig, BertForQuestionAnswering

    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("reading")
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    model = BertForQuestionAnswering(BertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=40, **shape))
    for tensor in model.parameters():
        torch.nn.init.normal_(tensor, 0, 0.6)
    model.save_pretrained(folder)
    save_vocabulary(folder)
    return lamina.load(folder, engine="reference")


def test_a_heads_answer_is_in_the_passage(reading: Extractor) -> None:
    import torch
    from transformers import BertForQuestionAnswering, BertTokenizerFast

    pairs = [("the river?", "a bank by the river, and 7 more"), ("x", "we sat"), ("who?", "")]
    logits = reading.head("question_answering").logits([Text(q, pair=p) for q, p in pairs])
    answers = head_answers(logits.units, logits.values, [passage for _, passage in pairs])
    folder = reading.checkpoint.folder
    model = BertForQuestionAnswering.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = BertTokenizerFast.from_pretrained(folder)
    for (question, passage), answer in zip(pairs[:2], answers, strict=False):
        inputs = tokenizer(question, passage, return_tensors="pt", return_offsets_mapping=True)
        offsets = inputs.pop("offset_mapping")[0].tolist()
        with torch.inference_mode():
            found = model(**inputs)
        rows = [i for i, side in enumerate(inputs.sequence_ids(0)) if side == 1]
        first, last, score = slowly(found.start_logits[0].numpy()[rows], found.end_logits[0].numpy()[rows], 30)
        assert (answer.start, answer.end) == (offsets[rows[first]][0], offsets[rows[last]][1])
        assert answer.text == passage[answer.start : answer.end] != ""
        assert answer.score == pytest.approx(score, rel=1e-4)
    assert (answers[2].text, answers[2].score) == ("", -np.inf)


def test_a_long_passage_is_read_whole(reading: Extractor) -> None:
    passage = "the river bank " * 40
    logits = reading.head().logits([Text("who?", pair=passage)], long="window")
    (answer,) = head_answers(logits.units, logits.values, [passage])
    assert answer.text == passage[answer.start : answer.end]
    assert answer.text


def test_sentences_are_chosen_as_by_trying_all(minilm: Extractor) -> None:
    passages = [
        "The bank opened in 1901. It lends money to farmers. Its roof is green.",
        "",
        "Willows grow by the river. Nobody swims there in winter.",
    ]
    questions = ["Who swims in the river?", "What colour is the roof?", "Anything?"]
    held = minilm.extract(passages, unit="sentence", layers=6)
    asked = minilm.extract(questions, special="exclude", layers=6).layer(6)
    sentences = Sentences(held.units, held.layer(6))
    for wanted in ([0, 0, 0], [2, 2, 2], [2, 0, 1]):
        answers = sentences.answers(asked, wanted)
        for question, passage, answer in zip(asked, wanted, answers, strict=True):
            rows = np.flatnonzero(held.units["text_id"].to_numpy() == passage)
            if not rows.size:
                assert (answer.text, answer.score) == ("", -np.inf)
                continue
            vectors = held.layer(6)[rows].astype(np.float64)
            cosines = vectors @ question / np.linalg.norm(vectors, axis=1) / np.linalg.norm(question)
            best = rows[int(np.argmax(cosines))]
            assert answer.text == held.units["surface"][int(best)].as_py()
            assert answer.text == passages[passage][answer.start : answer.end]
            assert answer.score == pytest.approx(cosines.max(), abs=1e-6)
    assert sentences.answers(asked, [2, 0, 1])[1].text == "Its roof is green."


def test_no_sentence_at_all() -> None:
    kinds = {"text_id": pa.int64(), "surface": pa.string(), "start": pa.int64(), "end": pa.int64()}
    units = pa.table({name: pa.array([], kind) for name, kind in kinds.items()})
    found = Sentences(units, np.zeros((0, 3), np.float32)).answers(np.ones((2, 3), np.float32), [0, 4])
    assert [answer.text for answer in found] == ["", ""]
