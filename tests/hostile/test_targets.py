"""The targets of `make fuzz`, on the inputs that it has kept and on some hundred changed ones each."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from fuzz.changes import LONGEST, changed
from fuzz.targets import TARGETS
from fuzz.worker import mutate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


def test_the_engine_without_coverage_finds_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A panic, which is no `Exception`, and an assertion; each is written down once, and comes again from its file."""

    class PanicException(BaseException):
        pass

    def run(data: bytes) -> None:
        if b"\xff" in data:
            raise PanicException("native")
        assert not data.startswith(b"{")

    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "seed").write_bytes(b"sound")
    (tmp_path / "found").mkdir()
    figures = mutate(run, tmp_path / "corpus", tmp_path / "found", 0.5)
    assert figures["executions"] > 100
    kinds = set()
    for path in (tmp_path / "found").iterdir():
        with pytest.raises((PanicException, AssertionError)) as caught:
            run(path.read_bytes())
        kinds.add(caught.type)
    assert kinds == {PanicException, AssertionError}


@given(seed=st.integers(), data=st.binary(max_size=50))
def test_a_change_has_an_end(seed: int, data: bytes) -> None:
    assert len(changed(data, random.Random(seed), [data, b"other"])) <= LONGEST
