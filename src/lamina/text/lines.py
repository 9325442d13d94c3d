"""Lines: the bytes of a file as strings, line by line, in bounded memory whatever the file holds.

Comes in: an open file. Goes out: strings, and for what cannot be read the reason, which never quotes what it is about.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

from lamina.errors import SourceError

Errors = Literal["strict", "replace"]

STDIN = "-"
LONGEST = 1 << 27  # bytes of one line, one csv record and one text: 134 million, so 100 MB of text are still a text
_SKIPPED = 1 << 20  # bytes read at once of a line that is too long
_BOM, _UTF16 = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")


class Lines:
    """The lines of a file as strings, their ends still on them; lines end at \\n alone.

    path     the file's name in errors.
    number   of the line given last, counted from 1.
    n_bytes  read so far.
    fault    what was wrong with the lines given since `taken_fault` was called last. Of such a line comes what can be
             had of it: enough to find where the next record begins, nothing to be kept.
    """

    def __init__(self, file: BinaryIO, path: str, *, errors: Errors = "strict") -> None:
        self._file, self._errors = file, errors
        self.path = path
        self.number = self.n_bytes = 0
        self.fault: str | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(LONGEST)
        if not line:
            raise StopIteration
        self.number += 1
        self.n_bytes += len(line)
        if len(line) == LONGEST and not line.endswith(b"\n"):
            return self._too_long()
        if self.number == 1:
            if line.startswith(_UTF16):
                raise SourceError(f"{self.path} begins with the mark of UTF-16: save it as UTF-8")
            line = line.removeprefix(_BOM)
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            if self._errors == "replace":
                return line.decode(errors="replace")
            self.fault = self.fault or f"line {self.number}: {no_utf8(error)}"
            return line.decode(errors="surrogateescape")

    def taken_fault(self) -> str | None:
        fault, self.fault = self.fault, None
        return fault

    def _too_long(self) -> str:
        self.fault = self.fault or f"line {self.number} is longer than {LONGEST:,} bytes"
        more = b"-"
        while more and not more.endswith(b"\n"):
            more = self._file.readline(_SKIPPED)
            self.n_bytes += len(more)
        return "\n"


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """A file, or standard input for `-`. Raises SourceError."""
    if path == STDIN:
        yield sys.stdin.buffer
        return
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - closed below; only opening is ours to explain
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise SourceError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    with file:
        yield file


def no_utf8(error: UnicodeDecodeError) -> str:
    """Which byte is no UTF-8, how many stand before it, and what to do."""
    place = f"byte 0x{error.object[error.start]:02X} is no UTF-8 ({error.reason}), {error.start:,} bytes in"
    return f"{place}: save the file as UTF-8, or read it with errors='replace'"
