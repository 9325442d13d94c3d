"""Opens an alignment page in Chromium: each link between its two words, right and wrong, text escaped, any width."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamina.apps.align.links import Aligned
from lamina.apps.align.page import align_page
from lamina.apps.align.score import read_gold
from tests.browser.conftest import HOSTILE, Open

WORDS = [(HOSTILE, HOSTILE[::-1]), ([], ["alone"]), (["ja", "."], ["yes", "."])]
FOUND = [
    Aligned("0", "itermax", (((0, 1),), (), ((0, 1),))),
    Aligned("1", "itermax", (((0, 9), (2, 7), (3, 3)), (), ((0, 0), (1, 1)))),
]
GOLD = read_gold(["0-9 1-8 3p3", "", "0-0 1-1"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1600, 400])
def test_links_join_their_words(opened: Open, tmp_path: Path, width: int, scheme: str) -> None:
    align_page(FOUND, WORDS, GOLD, title=HOSTILE[0]).save(tmp_path / "align.html")
    page = opened(tmp_path / "align.html", width=width, scheme=scheme)
    page.wait_for_selector("body[data-ready][data-drawn]")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for side, words in zip(("source", "target"), WORDS[0], strict=True):
        shown = page.eval_on_selector_all(f"#{side} .word", "all => all.map((one) => one.textContent)")
        assert shown == list(words)
    kinds = page.eval_on_selector_all("#links path", "all => all.map((p) => [p.dataset.link, p.className.baseVal])")
    assert sorted(kinds) == [["0-9", "right"], ["1-8", "missing"], ["2-7", "wrong"], ["3-3", "right"]]
    ends = page.evaluate("""() => [...document.querySelectorAll("#links path")].map((path) => {
        const [i, j] = path.dataset.link.split("-"), box = path.ownerSVGElement.getBoundingClientRect();
        const middle = (side, k) => {
            const at = document.querySelectorAll(`#${side} .word`)[k].getBoundingClientRect();
            return (at.left + at.right) / 2 - box.left;
        };
        const first = path.getPointAtLength(0), last = path.getPointAtLength(path.getTotalLength());
        return Math.max(Math.abs(first.x - middle("source", i)), Math.abs(last.x - middle("target", j)));
    })""")
    assert max(ends) < 1
    page.focus("#source .word >> nth=2")
    assert page.eval_on_selector_all("#links path.on", "all => all.map((p) => p.dataset.link)") == ["2-7"]
    assert page.eval_on_selector_all("#target .word.on", "all => all.map((w) => w.textContent)") == [HOSTILE[2]]
    page.focus("#layer")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#layer-name") == "0"
    assert page.inner_text("#said").startswith("1 link: 0 right, 1 wrong")
    page.select_option("#pair", "1")
    assert page.inner_text("#target") == "alone"
    assert page.inner_text("#said").startswith("0 links")
    assert page.evaluate("document.body.dataset.hacked") is None


def test_without_gold_a_link_is_a_link(opened: Open, tmp_path: Path) -> None:
    align_page(FOUND[:1], WORDS[2:], None).save(tmp_path / "align.html")
    page = opened(tmp_path / "align.html")
    page.wait_for_selector("body[data-ready]")
    assert page.inner_text("#said") == "1 link"
    assert page.is_hidden("#key")
    assert page.is_hidden("#of-layer")


def test_words_of_a_script_from_right_to_left_stand_so(opened: Open, tmp_path: Path) -> None:
    words = [(["שלום", "עולם", ",", "C++"], ["hello", "world", ",", "C++", "it", "is"])]
    align_page([Aligned("4", "itermax", (((0, 0), (3, 3)),))], words).save(tmp_path / "align.html")
    page = opened(tmp_path / "align.html")
    page.wait_for_selector("body[data-ready]")
    lefts = [
        page.eval_on_selector_all(f"#{side} .word", "all => all.map((one) => one.getBoundingClientRect().left)")
        for side in ("source", "target")
    ]
    assert lefts[0] == sorted(lefts[0], reverse=True)
    assert lefts[1] == sorted(lefts[1])
