"""Proves that layer words mean what they say and never wrap, and that a Spec refuses nonsense and parses back."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lamina import Spec
from lamina.errors import SpecError
from lamina.spec import Dtype, Long, Overlap, Pool, Special, Unit

N = 12


@pytest.mark.parametrize(
    ("layers", "numbers"),
    [
        ("all", tuple(range(13))),
        ("encoder", tuple(range(1, 13))),
        ("embeddings", (0,)),
        ("0", (0,)),
        ("12", (12,)),
        ("-1", (12,)),
        ("-12", (1,)),
        ("-4..-1", (9, 10, 11, 12)),
        ("0..2", (0, 1, 2)),
        ("3..3", (3,)),
        ("10..-1", (10, 11, 12)),
        ("0,6,12", (0, 6, 12)),
        ("12,0,6", (12, 0, 6)),
        ("embeddings,-2..-1", (0, 11, 12)),
        ("0, 6 , 12", (0, 6, 12)),
        (0, (0,)),
        (-1, (12,)),
        ([0, 6], (0, 6)),
        ((6, 0), (6, 0)),
        ([-1, 3], (12, 3)),
        (range(3), (0, 1, 2)),
        (range(4, 0, -2), (4, 2)),
        (iter([2, 5]), (2, 5)),
        (np.array([1, 2]), (1, 2)),
        (np.int64(4), (4,)),
    ],
)
def test_layer_words_name_layers(layers: Any, numbers: tuple[int, ...]) -> None:
    assert Spec.of(layers=layers).layer_numbers(N) == numbers


@pytest.mark.parametrize("layers", ["13", "-13", "0..13", "-13..-1", "-0", "5,99", "-9999", 13, -13, [0, 13], [-13]])
def test_a_layer_that_does_not_exist_is_an_error_that_names_the_range(layers: Any) -> None:
    with pytest.raises(SpecError, match=r"layers 0 to 12 .* -1 is layer 12"):
        Spec.of(layers=layers).layer_numbers(N)


@pytest.mark.parametrize("n_layers", [1, 6, 12])
def test_negative_layers_never_reach_the_embedding_layer(n_layers: int) -> None:
    with pytest.raises(SpecError, match="does not exist"):
        Spec(layers=str(-n_layers - 1)).layer_numbers(n_layers)


@pytest.mark.parametrize("layers", ["0,0", "12,-1", "all,3", "0..3,3", "encoder,all", [6, 6]])
def test_a_layer_named_twice_is_an_error(layers: Any) -> None:
    with pytest.raises(SpecError, match="more than once"):
        Spec.of(layers=layers).layer_numbers(N)


@pytest.mark.parametrize("layers", ["4..1", "-1..-4", "-1..0"])
def test_a_range_that_runs_backwards_is_an_error(layers: str) -> None:
    with pytest.raises(SpecError, match="backwards"):
        Spec(layers=layers).layer_numbers(N)


@pytest.mark.parametrize(
    "layers",
    ["", ",", "0,", "last", "ALL", "1.5", "1..", "..2", "1...3", "1..2..3", "--1", "+1", "1-3", "٣", "²", "0x1", "nan",
     True, 1.0, [1.0], [True], ["1", "2"], None, [None]],
)  # fmt: skip
def test_layers_that_cannot_be_read_are_refused(layers: Any) -> None:
    with pytest.raises(SpecError):
        Spec.of(layers=layers)


@pytest.mark.parametrize("text", ["layers={0}", "max_tokens={0}", "stride={0}"])
def test_a_number_of_thousands_of_digits_is_refused_as_any_other(text: str) -> None:
    with pytest.raises(SpecError):
        Spec.parse(text.format("9" * 5000)).layer_numbers(N)


REFUSED: list[dict[str, Any]] = [
    {"layers": 4}, {"layers": [4]}, {"layers": None},
    {"unit": "page"}, {"unit": "Text"}, {"unit": None}, {"unit": ["text"]},
    {"pool": "average"}, {"pool": ""}, {"pool": "cls", "unit": "word"}, {"pool": "cls", "unit": "token"},
    {"special": "only"}, {"special": True}, {"long": "cut"}, {"dtype": "bfloat16"}, {"dtype": "float64"},
    {"combine": "median"}, {"combine": ""}, {"combine": "1,,2"}, {"combine": "nan"}, {"combine": "inf,1"},
    {"combine": "1,-inf"}, {"combine": "mean,1"},
    {"max_tokens": 0}, {"max_tokens": -1}, {"max_tokens": 1.5}, {"max_tokens": "8"}, {"max_tokens": True},
    {"stride": 0}, {"stride": -4}, {"stride": 2.0}, {"stride": False},
    {"overlap": "both"}, {"overlap": "mean", "pool": "max"}, {"unit": "pair", "special": "exclude"},
    {"dims": 0}, {"dims": True}, {"dims": 2.0}, {"pool": "model", "unit": "sentence"}, {"pool": "cls", "unit": "span"},
    {"normalize": "no"}, {"normalize": None}, {"normalize": 2},
]  # fmt: skip


@pytest.mark.parametrize("values", REFUSED, ids=str)
def test_a_value_that_no_option_has_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        Spec(**values)


@pytest.mark.parametrize("combine", [[], [float("nan")], [float("inf"), 1], ["a"], 0.5, None, True], ids=repr)
def test_weights_that_are_no_list_of_finite_numbers_are_refused(combine: Any) -> None:
    with pytest.raises(SpecError):
        Spec.of(combine=combine)


def test_an_error_says_what_was_given_and_what_was_expected() -> None:
    with pytest.raises(SpecError, match=r"unit must be one of text, .*word, token, not 'page'"):
        Spec(unit="page")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    ["units=word", "word", "=word", "unit", "layers", "unit=words", "max_tokens=many", "max_tokens=-1", "max_tokens=٣",
     "max_tokens=1.5", "normalize=true", "normalize=", "layers=0, 6"],
)  # fmt: skip
def test_a_text_that_is_no_spec_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        Spec.parse(text)


def test_what_a_text_does_not_name_keeps_its_default() -> None:
    assert Spec.parse("") == Spec()
    assert Spec.parse("unit=word layers=-4..-1") == Spec(unit="word", layers="-4..-1")
    assert Spec.parse("max_tokens=auto normalize=yes") == Spec(normalize=True)


def test_weights_are_kept_to_the_last_bit() -> None:
    weights = (0.1, 1 / 3, -2e-30, 1e30)
    assert Spec.parse(str(Spec.of(combine=weights))).layer_weights() == weights
    assert Spec(combine="mean").layer_weights() is None


def words(literal: Any) -> st.SearchStrategy[str]:
    return st.sampled_from(get_args(literal))


numbers = st.integers(-50, 50)
layers = st.one_of(
    st.sampled_from(["all", "encoder", "embeddings"]),
    numbers.map(str),
    st.tuples(numbers, numbers).map(lambda pair: f"{pair[0]}..{pair[1]}"),
    st.lists(numbers, min_size=1, max_size=5),
)
weights = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5)
counts = st.none() | st.integers(1, 10**6)


@given(
    layers=layers,
    unit=words(Unit),
    pool=words(Pool),
    combine=st.sampled_from(["none", "mean", "sum", "concat"]) | weights,
    special=words(Special),
    long=words(Long),
    overlap=words(Overlap),
    max_tokens=counts,
    stride=counts,
    dims=counts,
    normalize=st.booleans(),
    dtype=words(Dtype),
)
def test_every_spec_parses_back_from_its_text(**values: Any) -> None:
    assume(values["pool"] not in ("cls", "model") or values["unit"] in ("text", "pair"))
    assume(not (values["pool"] == "max" and values["overlap"] == "mean"))
    assume(not (values["unit"] == "pair" and values["special"] == "exclude"))
    spec = Spec.of(**values)
    assert Spec.parse(str(spec)) == spec


@pytest.mark.parametrize("combine", ["0.5, 0.5", "1 ,2", " 1", "1,\t2"], ids=repr)
def test_weights_written_with_spaces_parse_back_or_are_refused(combine: str) -> None:
    try:
        spec = Spec.of(combine=combine)
    except SpecError:
        return
    assert Spec.parse(str(spec)) == spec
