"""The texts that a model is calibrated on and those that its cost is measured on, which are never the same.

Built in: calibration on `sample.txt`, written for this; measured on the sample that every precision is measured on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from lamina.errors import SpecError
from lamina.text.sample import sample as measured_sample

# Of the user's own texts, so much is read: about 12,000 tokens, half to calibrate on.
MAX_CHARACTERS = 60_000
LONGEST = 2_000  # characters of each


@dataclass(frozen=True, slots=True)
class Texts:
    """Two sets of texts; `source` says where they are from."""

    source: str
    calibration: tuple[str, ...]
    measured: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Of all of them, in order."""
        return sha256("\0".join([*self.calibration, *self.measured]).encode("utf-8", "surrogatepass")).hexdigest()


def texts_of(sample: Iterable[str] | None) -> Texts:
    """The user's texts, the first, third … to calibrate on and the others to measure on; None: those built in.

    Raises SpecError where there are not two that differ.
    """
    if sample is None:
        lines = Path(__file__).with_name("sample.txt").read_text(encoding="utf-8").splitlines()
        return Texts("built in", tuple(lines), tuple(measured_sample()))
    if isinstance(sample, str):
        raise SpecError("sample must be an iterable of strings, not one string: put it in a list")
    taken: dict[str, None] = {}
    n_characters = 0
    for text in sample:
        if text.strip() and text[:LONGEST] not in taken:
            taken[text[:LONGEST]] = None
            n_characters += len(text[:LONGEST])
        if n_characters >= MAX_CHARACTERS:
            break
    if len(taken) < 2:
        raise SpecError(f"sample holds {len(taken)} different texts, and two are needed: to calibrate, and to measure")
    return Texts("sample", tuple(taken)[0::2], tuple(taken)[1::2])
