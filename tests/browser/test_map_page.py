"""Opens maps in Chromium: 20,000 points of 7 layers drag smoothly, hovering tells the right text, nothing is run."""

from __future__ import annotations

import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lamina.apps.looks import COLOURS
from lamina.apps.map.page import map_page
from lamina.apps.map.pictures import Map
from tests.browser.conftest import HOSTILE, Open

N, L = 20_000, 7
DRAG_MS = 50  # the median frame at most; on an idle machine of two cores without a GPU it is 17, the screen's own rate


def made(points: np.ndarray) -> Map:
    n_layers, n = points.shape[:2]
    zero = (0.25,) * n_layers
    words = tuple(map(str, range(n_layers)))
    return Map("pca", words, np.arange(n), points.astype(np.float32), zero, zero, zero, 0, 0)


def units(texts: list[str], **columns: list[Any]) -> pa.Table:
    n = len(texts)
    return pa.table({"text_id": range(n), "surface": texts, "start": [0] * n, "end": [1] * n, **columns})


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20,000 points in 5 clouds that wander from layer to layer."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 5, N)
    own = rng.normal(size=(N, 2)) * 0.25
    centres = np.cumsum(rng.normal(size=(L, 5, 2)) * 0.5, axis=0)
    points = centres[:, kind] + own + rng.normal(size=(L, N, 2)) * 0.05
    texts = [f"Sentence number {i} says something of its own kind, which is {kind[i]}." for i in range(N)]
    table = units(
        texts, kind=[f"kind {k}" for k in kind], length=[str(len(text) + i % 90) for i, text in enumerate(texts)]
    )
    path = tmp_path_factory.mktemp("map") / "map.html"
    map_page(made(points), table, colour="kind", title="20,000 points").save(path)
    return path


def place(page: Any, colour: str) -> tuple[float, float]:
    """The middle of the pixels of a colour, in the window."""
    found = page.evaluate(
        """(hex) => {
          const canvas = document.getElementById("canvas"), box = canvas.getBoundingClientRect();
          const rgb = [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
          const { width, height } = canvas, data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
          let x = 0, y = 0, n = 0;
          for (let i = 0; i < width * height; i++)
            if (rgb.every((c, k) => Math.abs(data[4 * i + k] - c) < 30)) {
              x += i % width;
              y += Math.floor(i / width);
              n++;
            }
          return [box.left + (x / n) * (box.width / width), box.top + (y / n) * (box.height / height), n];
        }""",
        colour,
    )
    assert found[2] > 10, f"{colour} is not on the canvas"
    return found[0] + 0.5, found[1] + 0.5


def settled(page: Any) -> None:
    page.wait_for_selector("body[data-drawn]")
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def to_layer(page: Any, at: float) -> None:
    page.evaluate(
        "(at) => { const s = document.getElementById('layer'); s.value = at; s.dispatchEvent(new Event('input')); }", at
    )
    settled(page)


def test_a_screenshot_of_every_layer(large: Path, opened: Open, tmp_path: Path) -> None:
    n_bytes = large.stat().st_size
    print(f"{N:,} points, {L} layers: {n_bytes / 1e6:.2f} MB")
    assert n_bytes < N * (L * 4 * 4 / 3 + 130)  # two 16-bit numbers a layer in base64; texts and columns
    page = opened(large)
    settled(page)
    pictures = set()
    for layer in range(L):
        to_layer(page, layer)
        assert page.inner_text("#note b") == f"layer {layer}"
        for k in range(5):
            place(page, COLOURS[k])
        pictures.add(page.screenshot(path=tmp_path / f"layer-{layer}.png"))
    assert len(pictures) == L
    to_layer(page, 2.5)
    assert page.inner_text("#note b") == "between 2 and 3"
    assert page.screenshot() not in pictures


@pytest.mark.parametrize("width", [1600, 400])
def test_dragging_is_smooth(large: Path, opened: Open, width: int) -> None:
    page = opened(large, width=width)
    settled(page)
    box = page.locator("#canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = page.locator("#canvas").screenshot()
    page.evaluate(
        """() => {
          window.frames_ms = [];
          let last = 0;
          const tick = (now) => {
            if (last) frames_ms.push(now - last);
            last = now;
            window.running = requestAnimationFrame(tick);
          };
          window.running = requestAnimationFrame(tick);
        }"""
    )
    page.mouse.move(x, y)
    page.mouse.down()
    began, n = time.perf_counter(), 0
    while time.perf_counter() - began < 1.5:
        n += 1
        page.mouse.move(x + n % 80, y + n % 50)
    page.mouse.up()
    frames = page.evaluate("() => { cancelAnimationFrame(running); return frames_ms; }")
    middle, slow = median(frames), sorted(frames)[int(0.95 * len(frames))]
    print(f"dragging {N:,} points, {width} pixels wide: median frame {middle:.1f} ms, 95 % within {slow:.1f} ms")
    assert middle <= DRAG_MS
    assert page.locator("#canvas").screenshot() != before


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1600, 400])
def test_the_page_fits_its_window(large: Path, opened: Open, width: int, scheme: str) -> None:
    page = opened(large, width=width, scheme=scheme)
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#canvas").bounding_box()
    assert box["width"] > width * 0.6
    paper = page.evaluate("[...document.getElementById('canvas').getContext('2d').getImageData(1, 1, 1, 1).data]")
    assert (paper[0] > 200) == (scheme == "light")
    place(page, COLOURS[0])


THREE = np.array([[[-1, -1], [1, -1], [0, 1]], [[1, 1], [-1, 1], [0, -1]]], float)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Three points far from each other, in three colours; hostile texts."""
    table = units([HOSTILE[0], HOSTILE[1], "plain river"], kind=["a", "b", HOSTILE[2]], size=["1", "2", "3"])
    map_page(made(THREE), table, colour="kind", title=HOSTILE[0]).save(tmp_path / "map.html")
    return tmp_path / "map.html"


def test_hovering_says_what_a_point_is_at_every_layer(small: Path, opened: Open) -> None:
    page = opened(small)
    texts = [HOSTILE[0], HOSTILE[1], "plain river"]
    kinds = page.eval_on_selector_all("#legend .name", "all => all.map((one) => one.textContent)")
    for layer in (1, 0):
        to_layer(page, layer)
        for text, kind in zip(texts, ["a", "b", HOSTILE[2]], strict=True):
            page.mouse.move(*place(page, COLOURS[kinds.index(kind)]))
            assert page.evaluate("document.getElementById('tip').firstChild.textContent") == text
            cells = page.eval_on_selector_all("#tip dd", "all => all.map((one) => one.textContent)")
            assert cells[0] == kind
        page.mouse.move(5, 5)
        assert page.is_hidden("#tip")
    where = [place(page, COLOURS[kinds.index(kind)]) for kind in ("a", "b")]
    assert where[0][0] < where[1][0]  # as the coordinates of layer 0 have it
    assert page.title() == HOSTILE[0]


def test_every_naughty_string_is_shown_and_none_is_run(opened: Open, tmp_path: Path, shared_data: Path) -> None:
    texts = HOSTILE + json.loads((shared_data / "naughty_strings" / "blns.json").read_text(encoding="utf-8"))
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    points = np.random.default_rng(1).normal(size=(2, len(texts), 2))
    map_page(made(points), units(texts, text=texts[::-1]), title="x").save(tmp_path / "map.html")
    page = opened(tmp_path / "map.html")
    settled(page)
    page.focus("#canvas")
    n_elements = page.evaluate("document.querySelectorAll('script, img, svg, iframe').length")
    shown = page.evaluate(
        """(n) => Array.from({ length: n }, () => {
          document.getElementById("canvas").dispatchEvent(new KeyboardEvent("keydown", { key: "n" }));
          return document.getElementById("tip").firstChild.textContent;
        })""",
        len(texts),
    )  # n goes from point to point
    assert shown == [text if len(text) <= 320 else text[:320] + "…" for text in texts]
    assert page.evaluate("document.querySelectorAll('script, img, svg, iframe').length") == n_elements


def test_search_legend_colours_and_keys(small: Path, opened: Open) -> None:
    page = opened(small)
    settled(page)
    page.fill("#find", "RIVER")
    assert page.inner_text("#hits") == "1 of 3 points"
    page.press("#find", "Enter")
    assert page.inner_text("#hits") == "1 of 1: plain river"
    assert "plain river" in page.inner_text("#tip")
    page.fill("#find", "")
    settled(page)
    page.click("#legend button >> nth=1")
    settled(page)
    assert page.get_attribute("#legend button >> nth=1", "aria-pressed") == "true"
    place(page, COLOURS[1])
    with pytest.raises(AssertionError, match="not on the canvas"):
        place(page, COLOURS[0])
    page.click("#legend button >> nth=1")
    page.select_option("#colour", label="size")
    assert page.locator("#legend button").count() == 3  # three numbers are three names
    page.focus("#layer")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("document.querySelector('#note b').textContent === 'layer 0'")
    settled(page)
    page.focus("#canvas")
    before = place(page, COLOURS[0])
    page.keyboard.press("ArrowRight")
    settled(page)
    assert place(page, COLOURS[0])[0] == pytest.approx(before[0] - 60, abs=1.5)
    page.keyboard.press("+")
    page.keyboard.press("0")
    settled(page)
    assert place(page, COLOURS[0]) == pytest.approx(before, abs=1.5)
    page.mouse.move(700, 500)
    page.mouse.wheel(0, 300)  # away: everything comes nearer to the pointer
    settled(page)
    assert place(page, COLOURS[0]) != pytest.approx(before, abs=20)


def test_words_are_shown_where_they_stand(opened: Open, tmp_path: Path) -> None:
    texts = ["We sat on the 𝒇 river bank <b>then</b>.", "x" * 3000 + " bank"]
    table = pa.table(
        {"text_id": [0, 1, 0], "surface": ["bank", "bank", "We"], "start": [22, 3001, 0], "end": [26, 3005, 2]}
    )
    map_page(made(THREE), table, texts=texts, title="x").save(tmp_path / "map.html")
    page = opened(tmp_path / "map.html")
    settled(page)
    page.focus("#canvas")
    seen = []
    for _ in range(3):
        page.keyboard.press("n")
        seen.append(
            (page.inner_text("#tip mark"), page.evaluate("document.getElementById('tip').firstChild.textContent"))
        )
    assert seen == [("bank", texts[0]), ("bank", "…" + "x" * 109 + " bank"), ("We", texts[0])]


def test_a_scale_of_numbers(large: Path, opened: Open) -> None:
    page = opened(large)
    settled(page)
    page.select_option("#colour", label="length")
    settled(page)
    low, high = (
        float(text) for text in page.eval_on_selector_all(".ends span", "all => all.map((one) => one.textContent)")
    )
    assert 50 < low < 75
    assert 130 < high < 160
