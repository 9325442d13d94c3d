"""Whether a dataset is whole: every file there, of the size and checksum that the manifest says, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lamina.dataset.idf_file import read_idf
from lamina.dataset.manifest import FILE, IDF, SHARDS, Manifest, Shard, read_manifest


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one file; `rows` are the dataset's rows that it costs, first to last - 1."""

    name: str
    problem: str
    rows: tuple[int, int]

    def __str__(self) -> str:
        low, high = self.rows
        return f"{self.name}: {self.problem}" + (f" (rows {low:,} to {high - 1:,})" if high > low else "")


def verify(folder: str | Path) -> list[Finding]:
    """Read every byte of a dataset and compare; an empty list where all is well. An unfinished dataset is a finding.

    Raises DatasetError where the manifest itself is missing or damaged.
    """
    path = Path(folder)
    manifest = read_manifest(path)
    return [*damaged(path, manifest), *_others(path, manifest)]


def damaged(folder: Path, manifest: Manifest) -> list[Finding]:
    """What is wrong with the files that a manifest names."""
    findings, row = [], 0
    for shard in manifest.shards:
        rows = (row, row + shard.n_rows)
        findings += [Finding(shard.name, problem, rows) for problem in _problems(folder / SHARDS / shard.name, shard)]
        row += shard.n_rows
    if manifest.idf is not None and read_idf(folder, manifest) is None:
        findings.append(Finding(IDF, "is missing, or damaged: its sha256 is another", (0, 0)))
    return findings


def _others(folder: Path, manifest: Manifest) -> Iterator[Finding]:
    named = {shard.name for shard in manifest.shards}
    if (folder / SHARDS).is_dir():
        for name in sorted(found.name for found in (folder / SHARDS).iterdir() if found.name not in named):
            yield Finding(name, "does not belong to the dataset", (0, 0))
    if not manifest.complete:
        yield Finding(FILE, f"the dataset is unfinished after {manifest.n_texts:,} texts", (0, 0))


def _problems(path: Path, shard: Shard) -> Iterator[str]:
    try:
        n_bytes = path.stat().st_size
        if n_bytes != shard.n_bytes:
            yield f"has {n_bytes:,} bytes instead of {shard.n_bytes:,}"
            return
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != shard.sha256:
                yield "is damaged: its sha256 is another"
    except FileNotFoundError:
        yield "is missing"
    except OSError as error:
        yield f"cannot be read: {error.strerror}"
