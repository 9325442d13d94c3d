"""The targets of `make fuzz`, on the inputs that it has kept and on some hundred changed ones each."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.changes import changed
from fuzz.targets import TARGETS

CORPUS = Path(__file__).parents[2] / "fuzz" / "corpus"
KEPT = [(name, path) for name in TARGETS for path in sorted((CORPUS / name).glob("*"))]


@pytest.mark.parametrize("name", TARGETS)
def test_sound_inputs_pass(name: str) -> None:
    for data in (b"", *TARGETS[name].seeds().values()):
        TARGETS[name].run(data)


@pytest.mark.parametrize(("name", "path"), KEPT, ids=lambda value: value if isinstance(value, str) else value.name)
def test_what_was_kept_passes(name: str, path: Path) -> None:
    TARGETS[name].run(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(number=st.integers(0, 2**32))
def test_changed_inputs_pass(name: str, number: int) -> None:
    """Hypothesis chooses the changes; what fails is printed by its number and comes again."""
    rng = random.Random(number)
    seeds = list(TARGETS[name].seeds().values())
    TARGETS[name].run(changed(rng.choice(seeds), rng, seeds))


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.binary(max_size=200))
def test_random_bytes_pass(name: str, data: bytes) -> None:
    TARGETS[name].run(data)


@given(seed=st.integers(), data=st.binary(max_size=50))
def test_a_change_has_an_end(seed: int, data: bytes) -> None:
    assert len(changed(data, random.Random(seed), [data, b"other"])) <= 8_192
