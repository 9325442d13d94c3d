"""Opens attention pages in Chromium: the numbers under the pointer are the arrays', and no text is run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lamina.apps.attention.figures import head_figures
from lamina.apps.attention.page import attention_page
from lamina.cli.main import run
from lamina.extraction.extractor import Extractor
from tests.browser.conftest import HOSTILE, Open


@dataclass(frozen=True)
class Made:
    """Weights by hand."""

    units: pa.Table
    weights: np.ndarray
    layers: tuple[int, ...]
    heads: tuple[int, ...]


def made(names: list[str], *, L: int = 2, H: int = 3, seed: int = 0) -> Made:
    U = len(names)
    weights = np.random.default_rng(seed).dirichlet(np.full(U, 0.5), (L, H, U)).astype(np.float32)
    table = pa.table({"surface": names, "special": [i in (0, U - 1) for i in range(U)]})
    return Made(table, weights, tuple(range(1, L + 1)), tuple(range(H)))


def saved(path: Path, *texts: Made) -> Path:
    attention_page(texts, head_figures(texts), title="Attention").save(path)
    return path


def read(page: Any, selector: str = "#tip") -> tuple[int, int, str]:
    """The units and the number that the page tells: units are called u0, u1 …"""
    one, arrow, other, number = page.evaluate("(at) => document.querySelector(at).textContent", selector).split()
    assert arrow == "→"
    return int(one[1:]), int(other[1:]), number


def ready(page: Any, text: int = 0) -> None:
    page.wait_for_selector(f"body[data-ready='{text}']")


@pytest.mark.parametrize(("U", "width"), [(9, 1600), (9, 400), (120, 1600)])
def test_the_number_under_the_pointer_is_the_arrays(opened: Open, tmp_path: Path, U: int, width: int) -> None:
    text = made([f"u{i}" for i in range(U)])
    page = opened(saved(tmp_path / "a.html", text), width=width)
    ready(page)
    for layer, head in ((0, 0), (1, 2), (1, None)):
        plane = text.weights[layer].mean(axis=0) if head is None else text.weights[layer, head]
        page.click(f"#overview button >> nth={layer * 4 + (0 if head is None else head + 1)}")
        page.locator("#heat").scroll_into_view_if_needed()
        box = page.locator("#heat").bounding_box()
        height = min(box["height"], 990 - box["y"])
        seen = []
        for part in (0.35, 0.55, 0.8, 0.999):
            page.mouse.move(
                box["x"] + part * (box["width"] - 2), box["y"] + (1.4 - part) * min(height, box["width"]) * 0.75
            )
            i, j, number = read(page)
            assert number == f"{plane[i, j]:.4f}"
            seen.append((i, j))
        assert [j for _, j in seen] == sorted({j for _, j in seen})  # further right is a later unit
        assert [i for i, _ in seen] == sorted({i for i, _ in seen}, reverse=True)  # and further up an earlier one
        assert seen[-1][1] == U - 1


def test_the_cell_under_the_pointer_is_the_one_that_is_drawn(opened: Open, tmp_path: Path) -> None:
    text = made([f"u{i}" for i in range(12)], L=1, H=1)
    text.weights[:] = 0.01
    text.weights[0, 0, 3, 7] = 0.89
    page = opened(saved(tmp_path / "a.html", text))
    ready(page)
    place = page.evaluate(
        """() => {
          const canvas = document.getElementById("heat"), box = canvas.getBoundingClientRect();
          const ratio = canvas.width / box.width;
          const { width, height } = canvas, data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
          let x = 0, y = 0, n = 0;
          for (let i = 0; i < width * height; i++)
            if (data[4 * i] < 20 && data[4 * i + 1] < 60 && data[4 * i + 2] > 60) {
              x += i % width;
              y += Math.floor(i / width);
              n++;
            }
          return [box.left + x / n / ratio, box.top + y / n / ratio];
        }"""
    )
    page.mouse.move(*place)
    assert read(page) == (3, 7, "0.8900")


def test_keys_go_from_cell_to_cell_and_from_head_to_head(opened: Open, tmp_path: Path) -> None:
    text = made([f"u{i}" for i in range(6)])
    page = opened(saved(tmp_path / "a.html", text))
    ready(page)
    page.click("#overview button >> nth=1")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert page.inner_text(".where") == "Layer 2, head 1"
    page.focus("#heat")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft"):
        page.keyboard.press(key)
    assert read(page, "#said") == (2, 0, f"{text.weights[1, 1, 2, 0]:.4f}")


def test_pointing_at_a_word_says_where_it_looks(opened: Open, tmp_path: Path) -> None:
    text = made([f"u{i}" for i in range(8)])
    page = opened(saved(tmp_path / "a.html", text))
    ready(page)
    page.click("#overview button >> nth=6")  # layer 2, head 1
    plane = text.weights[1, 1]
    page.hover("#tokens button >> nth=4")
    best = [j for j in np.argsort(-plane[4]) if j != 4][:3]
    expected = ", ".join(f"u{j} {plane[4, j]:.4f}" for j in best)
    assert page.inner_text("#said") == f"u4 looks at: {expected}; itself {plane[4, 4]:.4f}"
    assert page.locator("#arcs path").count() == 7
    page.click("#tokens button >> nth=4")
    page.hover("#tokens button >> nth=1")
    assert read(page, "#said") == (4, 1, f"{plane[4, 1]:.4f}")
    page.check("[name=way][value=to]")
    page.hover("#tokens button >> nth=1")
    assert read(page, "#said") == (1, 4, f"{plane[1, 4]:.4f}")
    page.check("#plain")
    assert page.locator("#arcs path").count() == 5  # without the first unit and the last


def test_a_word_without_tokens_and_a_second_text(opened: Open, tmp_path: Path) -> None:
    one, other = made(["u0", "u1", "u2", "u3"]), made([f"u{i}" for i in range(5)], seed=1)
    one.weights[:, :, 1] = np.nan
    one.weights[..., 1] = 0
    page = opened(saved(tmp_path / "a.html", one, other))
    ready(page)
    page.focus("#heat")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert "no weight" in page.inner_text("#said")
    page.select_option("#text", "1")
    ready(page, 1)
    assert page.locator("#tokens button").count() == 5
    assert page.locator("#overview button").count() == 8


def test_every_naughty_string_is_shown_and_none_is_run(opened: Open, tmp_path: Path, shared_data: Path) -> None:
    names = HOSTILE + json.loads((shared_data / "naughty_strings" / "blns.json").read_text(encoding="utf-8"))
    names = [name.encode("utf-8", "replace").decode() for name in names]
    page = opened(saved(tmp_path / "a.html", made(names, L=1, H=1)))
    ready(page)
    shown = page.eval_on_selector_all("#tokens button", "all => all.map((one) => one.textContent)")
    assert shown == [name or "(empty)" for name in names]
    page.hover("#tokens button >> nth=1")
    assert page.locator("#tokens *").count() == len(names)  # a button each, and nothing inside


def test_naughty_texts_through_a_model(opened: Open, tmp_path: Path) -> None:
    page_path = tmp_path / "a.html"
    assert run(["attention", *HOSTILE[:8], "--layers", "1", "--report", str(page_path), "--quiet"]) == 0
    page = opened(page_path)
    for text in range(8):
        page.select_option("#text", str(text))
        ready(page, text)
        assert page.locator("#tokens button").count() > 2
    (option,) = [one for one in page.locator("#text option").all_inner_texts() if one.startswith("1.")]
    assert "< / script >" in option


@pytest.fixture(scope="module")
def long(minilm: Extractor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of more than 300 tokens, two layers of a real model."""
    (text,) = minilm.attention(["The river carries what nobody keeps. " * 45], layers=[1, 6])
    assert len(text) > 300
    path = tmp_path_factory.mktemp("long") / "a.html"
    attention_page([text], head_figures([text])).save(path)
    print(f"{len(text)} tokens, 2 layers: {path.stat().st_size / 1e6:.1f} MB")
    return path


@pytest.mark.parametrize(("width", "scheme"), [(1600, "light"), (400, "dark")])
def test_hundreds_of_tokens_fit_the_window(long: Path, opened: Open, width: int, scheme: str) -> None:
    page = opened(long, width=width, scheme=scheme)
    ready(page)
    page.wait_for_selector("body[data-drawn]")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.check("#large")
    assert page.evaluate("document.documentElement.scrollWidth") <= width  # the heat map scrolls by itself
    assert page.evaluate("document.getElementById('heat').clientWidth") > 300 * 15
