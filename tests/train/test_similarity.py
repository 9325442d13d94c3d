"""Proves that pairs are learnt, with scores and without, and that sentence-transformers opens what comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import lamina
from lamina.errors import SpecError
from lamina.text.text import Text
from lamina.train.examples import Examples, score_label
from lamina.train.similarity import (
    SCALE,
    SentenceEncoder,
    Similarity,
    _encoded,
    _Scale,
    correlation,
    ranks,
    train_similarity,
)
from lamina.train.start import begin
from tests.train.small import learning, settings, small_bert


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bert(tmp_path_factory.mktemp("small"))


def pairs(n: int, *, seed: int = 0, scored: bool = True) -> Examples[float | None]:
    """Two texts of letters; the score is how many of their letters come from the same half of the alphabet."""
    random = np.random.default_rng(seed)
    texts, scores = [], []
    for _ in range(n):
        kinds = random.integers(0, 2, 2) if scored else np.repeat(random.integers(0, 2), 2)
        sides = [" ".join(random.choice(list("abcdef" if kind else "uvwxyz"), random.integers(2, 9))) for kind in kinds]
        texts.append(Text(sides[0], pair=sides[1]))
        scores.append(5.0 if kinds[0] == kinds[1] else 1.0)
    return Examples(tuple(texts), tuple(scores) if scored else (None,) * n)


@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_scores_are_learnt_and_read_back(model: Path, tmp_path: Path, pool: str) -> None:
    test = pairs(40, seed=4)
    done = train_similarity(model, pairs(150), out=tmp_path / "o", test=test, pool=pool, settings=learning())  # type: ignore[arg-type]
    assert done.record["test_figures"]["pearson"] >= 0.8
    loaded = lamina.load(tmp_path / "o", engine="reference")
    sides = [[text.text for text in test.texts], [text.pair or "" for text in test.texts]]
    first, second = (loaded.extract(side, layers="-1", pool="model").layer(-1) for side in sides)
    assert correlation((first * second).sum(1), np.array(test.labels)) == pytest.approx(
        done.record["test_figures"]["pearson"], abs=1e-4
    )
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(str(tmp_path / "o"), device="cpu").encode(sides[0])
    assert np.allclose(theirs, first, atol=1e-4)


def test_a_text_finds_its_own_among_those_of_the_batch(model: Path, tmp_path: Path) -> None:
    how = learning(epochs=4, batch_size=16)
    done = train_similarity(model, pairs(120, scored=False), out=tmp_path / "o", settings=how)
    losses = [loss for _, loss in done.record["losses"]]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    with pytest.raises(SpecError, match="batch_tokens cannot part a batch of pairs without scores"):
        train_similarity(model, pairs(20, scored=False), out=tmp_path / "p", settings=settings(batch_tokens=64))


def test_losses_are_those_written_down(model: Path) -> None:
    start = begin(model)
    module = SentenceEncoder(start.encoder(settings()), "mean").eval()
    for scored in (True, False):
        examples = pairs(6, scored=scored)
        held = _encoded(examples, start, 32, _Scale.of(examples, 0.0, 5.0))
        objective = Similarity(module, held, None)
        loss = objective.loss(objective.batch(range(6), np.random.default_rng(0)))
        with torch.inference_mode():
            a, b = objective.vectors(held.first).astype(float), objective.vectors(held.second).astype(float)
        assert np.allclose((a**2).sum(1), 1)
        if scored:
            expected = np.mean(((a * b).sum(1) - np.array(examples.labels, float) / 5) ** 2)
        else:
            logits = SCALE * a @ b.T
            expected = np.mean(np.log(np.exp(logits).sum(1)) - np.diag(logits))
        assert loss.total.item() / loss.weight == pytest.approx(expected, rel=1e-4)


def test_ranks_and_correlations_are_scipys() -> None:
    from scipy import stats

    random = np.random.default_rng(0)
    a, b = random.integers(0, 6, 50).astype(float), random.normal(size=50)
    assert np.array_equal(ranks(a), stats.rankdata(a))
    assert correlation(ranks(a), ranks(b)) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert correlation(np.ones(3), np.arange(3.0)) == 0


def test_what_is_no_pair_or_no_score_is_refused(model: Path, tmp_path: Path) -> None:
    alone = Examples((Text("a"), Text("b")), (1.0, 2.0))
    with pytest.raises(SpecError, match="text 0 has no second text"):
        train_similarity(model, alone, out=tmp_path / "o", held_out=0)
    with pytest.raises(SpecError, match="scores run from 1 to 5"):
        train_similarity(model, pairs(20), out=tmp_path / "o", high=3.0)
    for test, said in ((alone, "text 0 has no second text"), (pairs(3, scored=False), "text 0 has no score")):
        with pytest.raises(SpecError, match=said):
            train_similarity(model, pairs(20), test=test, out=tmp_path / "o")
    assert not (tmp_path / "o").exists()  # nothing was learnt before
    assert score_label("4.5") == 4.5
    assert score_label("") is None
    with pytest.raises(TypeError, match="expected a finite number"):
        score_label("nan")
