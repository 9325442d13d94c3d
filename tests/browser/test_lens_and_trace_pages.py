"""Opens lens and trace pages in Chromium: the right numbers, light and dark, narrow and wide, nothing run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lamina.apps.lens.guesses import Lens, lens_of, look
from lamina.apps.lens.page import lens_page
from lamina.apps.trace.page import trace_page
from lamina.apps.trace.uses import Trace, trace
from lamina.embeddings import Embeddings
from tests.browser.conftest import HOSTILE, Open

V = 30
NAMES = {i: HOSTILE[i] if i < len(HOSTILE) else f"<{i}>" for i in range(V)}


@pytest.fixture(scope="module")
def lens() -> Lens:
    rng = np.random.default_rng(0)
    T = len(HOSTILE)
    units = pa.table(
        {"token": HOSTILE, "surface": HOSTILE, "start": [0] * T, "end": [1] * T, "special": [False] * T}
    )  # fmt: skip
    truth = np.arange(T) - 1
    views = {k: look((rng.normal(size=(T, V)) * 3).astype(np.float32), truth) for k in range(7)}
    return lens_of(units, truth, views, names=NAMES)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1600, 400])
def test_a_lens_tells_what_its_arrays_hold(lens: Lens, opened: Open, tmp_path: Path, width: int, scheme: str) -> None:
    lens_page([lens], title=HOSTILE[0]).save(tmp_path / "lens.html")
    page = opened(tmp_path / "lens.html", width=width, scheme=scheme)
    page.wait_for_selector("body[data-ready][data-drawn]")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    heads = page.eval_on_selector_all(".lens tbody th", "all => all.map((one) => one.textContent)")
    assert heads == [name.replace("\x00", "") for name in HOSTILE]  # HTML has no NUL
    for t, k in ((0, 0), (3, 2), (8, 1)):
        page.hover(f".lens tbody tr >> nth={t} >> td >> nth={k}")
        rows = page.eval_on_selector_all("#tip tr", "all => all.map((r) => [...r.cells].map((c) => c.textContent))")
        first = zip(lens.candidates[k, t], lens.probabilities[k, t], strict=True)
        assert rows == [[NAMES[int(token)], f"{chance:.3f}"] for token, chance in first]
        said = page.inner_text("#tip p")
        if t:
            assert f"rank {lens.ranks[k, t]}, probability {lens.probability[k, t]:.3f}" in said
        else:
            assert "rank" not in said
    page.keyboard.press("Tab")
    page.focus(".lens tbody tr >> nth=0 >> td >> nth=0")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.at") == "0,1,1"


@pytest.fixture(scope="module")
def followed() -> tuple[list[Trace], pa.Table, list[str]]:
    rng = np.random.default_rng(1)
    texts = [f"{hostile} the bank and the seal" for hostile in HOSTILE]
    places = [(t, text.index(word), word) for word in ("bank", "seal") for t, text in enumerate(texts)]
    n = len(places)
    units = pa.table(
        {
            "text_id": [t for t, _, _ in places], "surface": [word for _, _, word in places],
            "start": [start for _, start, _ in places], "end": [start + 4 for _, start, _ in places],
            "special": [False] * n, "status": ["ok"] * n, "sense": [HOSTILE[t % 3] for t, _, _ in places],
        }
    )  # fmt: skip
    layers = {f"layer_{k}": rng.normal(size=(n, 5)).astype(np.float32) for k in range(3)}
    return trace(Embeddings(units, layers, n_texts=len(texts)), ["bank", "seal"], groups="sense"), units, texts


def cell(page: Any, i: int, j: int, n: int) -> tuple[float, float]:
    box = page.locator("#matrix").bounding_box()
    side = (box["width"] - 7) / n
    return box["x"] + 7 + (j + 0.5) * side, box["y"] + 7 + (i + 0.5) * side


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1600, 400])
def test_a_trace_tells_what_its_arrays_hold(
    followed: tuple[list[Trace], pa.Table, list[str]], opened: Open, tmp_path: Path, width: int, scheme: str
) -> None:
    found, units, texts = followed
    trace_page(found, units, texts=texts, title=HOSTILE[1]).save(tmp_path / "trace.html")
    page = opened(tmp_path / "trace.html", width=width, scheme=scheme, height=1400)
    page.wait_for_selector("body[data-ready][data-drawn]")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for word, layer, i, j in ((0, 2, 1, 4), (1, 0, 7, 2)):
        page.select_option("#word", str(word))
        page.evaluate(
            "(k) => { const s = document.getElementById('layer'); s.value = k; s.dispatchEvent(new Event('input')); }",
            layer,
        )
        page.locator("#matrix").scroll_into_view_if_needed()
        page.mouse.move(*cell(page, i, j, len(found[word])))
        assert page.inner_text("#said b") == f"{found[word].similarity[layer, i, j]:.4f}"
        lit = page.eval_on_selector_all("#uses li.on bdi", "all => all.map((one) => one.textContent)")
        numbers = units["text_id"].to_pylist()
        whole = [texts[numbers[row]] for row in found[word].rows[sorted([i, j])]]
        assert len(lit) == 2
        assert all(text.endswith(part.removeprefix("…")) for text, part in zip(whole, lit, strict=True))
    assert set(page.eval_on_selector_all("#uses mark", "all => all.map((one) => one.textContent)")) == {"seal"}
