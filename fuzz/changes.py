"""Changes: what is done to a sound input to make it unsound, byte by byte, or value by value where it is JSON."""

from __future__ import annotations

import json
import random
from typing import Any

LONGEST = 20_000  # bytes of a changed input: twice the tiny model
TOKENS = [
    b"\n", b"\r", b"\x00", b'"', b"\xff", b"\xef\xbb\xbf", b"\\ud800", b"[", b"{", b"1e999", b"-1", b"null", b"NaN",
    b"true", b"99999999999999999999", b"../", b"\x7f\xff\xff\xff", "\u0301".encode(), "\u2029".encode(), "😀".encode(),
]  # fmt: skip
VALUES: list[Any] = [
    None, True, 0, -1, 1, 2**31, 2**63, 1e308, float("nan"), "", "a", "[CLS]", "\ud800", "../x", "(a+)+$",
    [], {}, [[]], ["a"], {"a": 1},
]  # fmt: skip


def changed(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """An input changed in one to four places: bits, bytes, numbers, tokens of the formats, pieces of other inputs."""
    if rng.random() < 0.5 and (found := _as_json(data)) is not None:
        return found[0] + json.dumps(changed_value(found[1], rng)).encode()[:LONGEST]
    held = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randint(0, len(held))
        size = rng.choice((1, 1, 2, 4, 16, 64))
        way = rng.randrange(7)
        if way == 0 and held:
            held[place % len(held)] ^= 1 << rng.randrange(8)
        elif way == 1:
            del held[place : place + size]
        elif way == 2:
            held[place:place] = rng.randbytes(size)
        elif way == 3:
            held[place:place] = rng.choice(TOKENS) * rng.choice((1, 1, 1, 50))
        elif way == 4:
            held[place : place + 4] = rng.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF)).to_bytes(4, "little")
        elif way == 5:
            held[place:place] = held[place : place + size] * rng.choice((1, 2, 100))
        else:
            other = rng.choice(others)
            low = rng.randint(0, len(other))
            held[place : place + size] = other[low : low + rng.choice((4, 16, 64, 256))]
    return bytes(held[:LONGEST])


def changed_value(value: Any, rng: random.Random) -> Any:
    """A JSON value with one of the values in it replaced, doubled, or taken out."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.1:
        return rng.choice(VALUES)
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = rng.choice(keys)
    copied = dict(value) if isinstance(value, dict) else list(value)
    way = rng.randrange(8)
    if way == 0:
        del copied[key]
    elif way == 1:
        copied[key] = value[rng.choice(keys)]
    elif way == 2 and isinstance(copied, list):
        copied *= 2
    else:
        copied[key] = changed_value(value[key], rng)
    return copied


def _as_json(data: bytes) -> tuple[bytes, Any] | None:
    """An input that is JSON, or JSON after the byte that says how to read it."""
    for begin in (0, 1):
        try:
            return data[:begin], json.loads(data[begin:])
        except (ValueError, RecursionError):
            continue
    return None
