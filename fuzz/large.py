"""`python -m fuzz.large`: very large inputs, sound or broken, each in a process of its own: time and memory.

Every one must end in vectors or a LaminaError, in memory that does not grow with it but for what a text itself takes.
"""

from __future__ import annotations

import contextlib
import itertools
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fuzz import samples

MB = 1_000_000


def text_of_100_mb(path: Path) -> str:
    path.write_text("seven long nights, all of them quiet. " * (100 * MB // 38))
    return _extracted(path, "text")


def words_of_10_mb(path: Path) -> str:
    path.write_text("seven long nights, all of them quiet. " * (10 * MB // 38))
    return _extracted(path, "word")


def chinese_of_10_mb(path: Path) -> str:
    path.write_text("河水慢慢流向大海，银行昨天加息了。" * (10 * MB // 51), encoding="utf-8")
    return _extracted(path, "sentence")


def letter_100_million_times(path: Path) -> str:
    path.write_text("a" * 100 * MB)
    return _extracted(path, "text")


def million_empty_lines(path: Path) -> str:
    path.write_text("\n" * MB)
    return _extracted(path, "text")


def gigabyte_without_a_line_end(path: Path) -> str:
    _repeat(path, b"a", 1000)
    return _extracted(path, "text")


def gigabyte_in_a_quote_that_never_ends(path: Path) -> str:
    path = path.with_suffix(".csv")
    _repeat(path, b'text,n\n"', 0)
    _repeat(path, b"two, words\n", 1000)
    return _extracted(path, "text")


def gigabyte_of_zeros_as_jsonl(path: Path) -> str:
    path = path.with_suffix(".jsonl")
    _repeat(path, b"\x00", 1000)
    return _extracted(path, "text")


def column_of_100_mb_a_row(path: Path) -> str:
    path = path.with_suffix(".jsonl")
    with path.open("w") as file:
        for _ in range(10):
            file.write('{"text": "a", "other": "' + "x" * 100 * MB + '"}\n')
    return _extracted(path, "text")


def parquet_of_one_large_value_a_million_times(path: Path) -> str:
    import numpy as np
    import pyarrow as pa

    path = path.with_suffix(".parquet")
    repeated = pa.DictionaryArray.from_arrays(pa.array(np.zeros(MB, np.int32)), pa.array(["x" * MB]))
    path.write_bytes(samples.parquet(pa.table({"text": ["a"] * MB, "other": repeated})))
    return _read(path)


def json_of_nested_lists(path: Path) -> str:
    path = path.with_suffix(".jsonl")
    path.write_text('{"text": ' + "[" * 100_000 + "]" * 100_000 + "}\n")
    return _extracted(path, "text")


LARGE: tuple[Callable[[Path], str], ...] = (
    text_of_100_mb, words_of_10_mb, chinese_of_10_mb, letter_100_million_times, million_empty_lines,
    gigabyte_without_a_line_end, gigabyte_in_a_quote_that_never_ends, gigabyte_of_zeros_as_jsonl,
    column_of_100_mb_a_row, parquet_of_one_large_value_a_million_times, json_of_nested_lists,
)  # fmt: skip


def main() -> int:
    if len(sys.argv) == 3:  # in its own process
        (run,) = (one for one in LARGE if one.__name__ == sys.argv[1])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.monotonic()
        ended = run(Path(sys.argv[2]) / "input.txt")
        took, peak = time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"{run.__name__.replace('_', ' '):<45}{took:>8.1f} s {(peak - before) // 1024:>7,} MB  {ended}")
        return 0
    failed = 0
    for one in LARGE:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([sys.executable, "-m", "fuzz.large", one.__name__, folder], check=False)
            if done.returncode:
                print(f"{one.__name__}: exit code {done.returncode}")
                failed = 1
    return failed


def _extracted(path: Path, unit: str) -> str:
    """What becomes of a file in a job with the tiny model."""
    import lamina

    model = lamina.load(samples.save_model(path.parent / "model", max_position_embeddings=512))
    try:
        dataset = lamina.extract(path, path.parent / "out", model=model, unit=unit, layers=-1, on_error="mark")  # type: ignore[arg-type]
    except lamina.LaminaError as error:
        return f"{type(error).__name__}: {str(error).replace(str(path), path.name)[:150]}"
    marked = dataset.units_at([0]).column("error")[0].as_py()
    return f"{len(dataset):,} rows" + (f"; {marked[:120]}" if marked else "")


def _read(path: Path) -> str:
    """The first thousand rows of a file, of which one as large as this cannot be written again."""
    from lamina.text.source import Source

    groups: Iterator[object] = Source(str(path)).rows()
    with contextlib.closing(groups):  # type: ignore[type-var]
        return f"{sum(len(rows.texts) for rows in itertools.islice(groups, 100)):,} rows read"  # type: ignore[attr-defined]


def _repeat(path: Path, content: bytes, megabytes: int) -> None:
    block = content * max(1, MB // len(content))
    with path.open("ab") as file:
        for _ in range(megabytes):
            file.write(block)
        if not megabytes:
            file.write(content)


if __name__ == "__main__":
    sys.exit(main())
