"""JSON files that say what they are, in which version, and by a checksum whether they are whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lamina.errors import LaminaError


def checksum(values: Mapping[str, Any]) -> str:
    """The sha256 of the content, whatever the order of its keys and the white space between."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def sealed(format: str, version: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as they stand in a file of this format."""
    content = {"format": format, "format_version": version, **values}
    return {**content, "checksum": checksum(content)}


def unsealed(path: Path, format: str, version: int, *, other: str, error: type[LaminaError]) -> dict[str, Any]:
    """The content of a file, without its checksum. Raises FileNotFoundError and NotADirectoryError as they come, and
    `error` for all else: a file that cannot be read, is of another format (then `other` says what it is not), of
    another version, or damaged."""
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError, RecursionError) as why:
        raise error(f"{path} cannot be read: {why}") from None
    if not isinstance(found, dict) or found.get("format") != format:
        raise error(f"{path} is {other}")
    if found.get("format_version") != version:
        raise error(
            f"{path} has format version {found.get('format_version')!r}, of which this Lamina knows nothing "
            f"(it reads version {version}): use a newer one"
        )
    if found.pop("checksum", None) != checksum(found):
        raise error(f"{path} is damaged: its checksum is not that of its content")
    return found
