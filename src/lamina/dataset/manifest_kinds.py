"""What each value of `manifest.json` must be, checked before anything is made of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

MAX_WIDTH = 1 << 24  # numbers in a vector: 513 layers of 16,384 side by side are half of it
SHARD_NAME = re.compile(r"part-\d{5,}-[0-9a-f]{8}\.(parquet|arrow|lance)", re.ASCII)


def check_kinds(found: dict[str, Any]) -> None:
    """Raise ValueError, KeyError or TypeError for a value that is lacking or of the wrong kind."""
    for holder, kinds in (
        (found, _KINDS),
        (found["made"], _MADE_KINDS),
        *((shard, _SHARD_KINDS) for shard in found["shards"]),
        *((one, _INPUT_KINDS) for one in found["inputs"]),
    ):
        for name, is_kind in kinds.items():
            if not is_kind(holder[name]):
                raise ValueError(f"{name} is {str(holder[name])[:80]!r}")


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: object) -> bool:
    return value is None or isinstance(value, str)


def _list_of(is_kind: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(is_kind, value))


def _dict_of(is_kind: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(map(is_kind, value.values()))


# What each value of the file must be. A name that is lacking is a KeyError, one too many a TypeError of the dataclass.
_KINDS: dict[str, Callable[[object], bool]] = {
    "spec": _is_text,
    "store": lambda value: value in ("parquet", "arrow", "lance"),
    "layers": _list_of(_is_count),
    "width": lambda value: type(value) is int and 0 < value <= MAX_WIDTH,
    "made": lambda value: isinstance(value, dict),
    "travelled": _list_of(_is_text),
    "idf": lambda value: value is None or isinstance(value, dict),
    "inputs": lambda value: isinstance(value, list) and all(isinstance(one, dict) for one in value) and bool(value),
    "n_texts": _is_count,
    "n_rows": _is_count,
    "n_tokens": _is_count,
    "statuses": _dict_of(_is_count),
    "shards": _list_of(lambda value: isinstance(value, dict)),
    "complete": lambda value: isinstance(value, bool),
}
_MADE_KINDS: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(("model", "family", "weights_sha256", "tokenizer_sha256", "engine", "precision"), _is_text),
    "revision": _is_text_or_none,
    "recipe_sha256": _is_text_or_none,
    "config_sha256": _is_text_or_none,
    "calibration_sha256": _is_text_or_none,
    "versions": _dict_of(_is_text),
}
_SHARD_KINDS: dict[str, Callable[[object], bool]] = {
    "name": lambda value: isinstance(value, str) and SHARD_NAME.fullmatch(value) is not None,
    "n_rows": _is_count,
    "n_bytes": _is_count,
    "sha256": _is_text,
    "n_texts": _is_count,
    "n_open": _is_count,
}
_INPUT_KINDS: dict[str, Callable[[object], bool]] = {
    "first_text": _is_count,
    "name": _is_text_or_none,
    "n_bytes": lambda value: value is None or _is_count(value),
    "sha256": _is_text_or_none,
    "read_as": lambda value: value is None or isinstance(value, dict),
}
