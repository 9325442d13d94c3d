"""Texts in many scripts, lengths and tones, written for Lamina: what 8-bit ranges are found on, and what the cost of a
precision is measured on, where nobody gives texts of their own."""

from __future__ import annotations

from pathlib import Path

JOINED = 5  # so many lines also stand together as one longer text


def sample() -> list[str]:
    """About fifty texts of one to two hundred words."""
    lines = Path(__file__).with_name("sample.txt").read_text(encoding="utf-8").splitlines()
    return lines + [" ".join(lines[start : start + JOINED]) for start in range(len(lines) // 2, len(lines), JOINED)]
