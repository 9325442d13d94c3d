"""AER as its authors define it: by hand, on known outputs, and every line that is no line of links."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamina.apps.align.score import LinkScores, pharaoh, read_gold, read_links, score_links
from lamina.errors import SourceError


def test_the_measures_by_hand() -> None:
    gold = read_gold(["0-0 1-1 2p1 2p2", "", "0-0"])
    found = read_links(["1-1 2-1 3-3", "0-0", ""])
    scores = score_links(found, gold)
    assert scores == LinkScores(n_links=4, n_sure=3, in_sure=1, in_possible=2)
    assert (scores.precision, scores.recall) == (2 / 4, 1 / 3)
    assert scores.f1 == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))
    assert scores.aer == pytest.approx(1 - (1 + 2) / (4 + 3))


def test_where_there_is_nothing_there_is_no_measure() -> None:
    nothing = LinkScores()
    assert (nothing.precision, nothing.recall, nothing.f1, nothing.aer) == (None, None, None, None)
    wrong = LinkScores(n_links=2, n_sure=2)
    assert (wrong.f1, wrong.aer) == (0.0, 1.0)


@pytest.mark.parametrize(("name", "aer"), [("enfr", 4.07), ("roen", 20.75)])
def test_known_outputs_have_their_known_error_rate(shared_data: Path, name: str, aer: float) -> None:
    folder = shared_data / "word_alignment"
    gold = read_gold((folder / f"{name}.gold").read_text(encoding="utf-8").splitlines(), first=1)
    found = read_links((folder / f"{name}.awesome-align.out").read_text(encoding="utf-8").splitlines())
    measured = score_links(found, gold).aer
    assert measured is not None
    assert round(100 * measured, 2) == aer


def test_lines_come_back_as_they_were_sorted_and_once() -> None:
    assert [pharaoh(links) for links in read_links(["2-0 0-10 0-2 2-0", "", "3p1"])] == ["0-2 0-10 2-0", "", "3-1"]
    assert read_links(["1-1 2-3"], first=1) == [((0, 0), (1, 2))]
    (marked,) = read_gold(["0-0 0p0"])
    assert marked.sure == marked.possible == {(0, 0)}


@pytest.mark.parametrize("line", ["0", "0-", "-1-0", "0:0", "0-0,1-1", "a-b", "0-0-0", "0P0", "٣-٣", "1" * 5000 + "-0"])
def test_what_is_no_link_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(SourceError, match="line 2"):
        read_gold(["0-0", line])


def test_links_to_words_that_are_not_there_are_refused() -> None:
    assert read_links(["1-0"], lengths=[(2, 1)]) == [((1, 0),)]
    with pytest.raises(SourceError, match=r"line 1 .* counted from 1"):
        read_links(["2-1"], lengths=[(2, 1)])
    with pytest.raises(SourceError, match="word 0"):
        read_links(["0-1"], first=1)
    with pytest.raises(SourceError, match="2 lines of links for 1 pairs"):
        read_links(["0-0", "0-0"], lengths=[(1, 1)])
    with pytest.raises(SourceError, match="1 pairs have links"):
        score_links([()], [])
