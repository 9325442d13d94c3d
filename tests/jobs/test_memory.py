"""Proves that a long job needs no more memory at its end than at its beginning, nor a long text for its vectors."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

N_TEXTS = 96_000  # the first shards, whose writing warms up, fall into the first tenth
WITHIN = 1.1  # of the first tenths

# Runs a job and prints the resident memory at each batch, with small chunks and shards, so that there are many.
SCRIPT = """
import json, os, sys
from pathlib import Path
import lamina
from lamina.extraction import regroup
from lamina.jobs.local import run
from lamina.text.source import Source

regroup.MAX_TEXTS, regroup.RESULT_BYTES = int(sys.argv[4]), int(sys.argv[5])
page = os.sysconf("SC_PAGE_SIZE")
seen = []
def look(done):
    seen.append(int(Path("/proc/self/statm").read_text().split()[1]) * page)
model = lamina.load(sys.argv[1])
spec = lamina.Spec(layers="0,1", unit=sys.argv[6])
made = run(Source(sys.argv[2]), Path(sys.argv[3]), model, {"": spec}, shard_bytes=1 << 20, on_batch=look)[""]
print(json.dumps({"seen": seen, "n_rows": len(made), "n_shards": len(made.manifest.shards)}))
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="needs /proc to see resident memory")


def _run(model: Path, source: Path, out: Path, *, max_texts: int, result_bytes: int, unit: str) -> dict[str, list[int]]:
    command = [sys.executable, "-c", SCRIPT, *map(str, (model, source, out, max_texts, result_bytes)), unit]
    done = subprocess.run(command, capture_output=True, check=True, timeout=300)
    found: dict[str, list[int]] = json.loads(done.stdout)
    return found


def test_memory_is_flat_over_many_texts(tiny_bert: Path, tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_text("".join(f"text number {i} of many\n" for i in range(N_TEXTS)))
    found = _run(tiny_bert, path, tmp_path / "d", max_texts=256, result_bytes=1 << 28, unit="word")
    seen = found["seen"]
    assert len(seen) >= N_TEXTS // 256
    assert int(str(found["n_shards"])) > 2
    tenth = len(seen) // 10
    first, last = max(seen[tenth : 2 * tenth]), max(seen[-tenth:])  # the first of all warms up
    assert last < WITHIN * first, (first, last)


def test_one_long_text_takes_the_memory_of_its_parts(random_bert: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_text("the river bank " * 30_000 + "\n")
    wide = {"hidden_size": 768, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 64}
    found = _run(random_bert(**wide), path, tmp_path / "d", max_texts=256, result_bytes=1 << 23, unit="token")
    seen = found["seen"]
    n_bytes = int(str(found["n_rows"])) * 2 * 768 * 2  # of all its vectors in float16, if they were held at once
    assert n_bytes > 180e6
    assert max(seen) - seen[0] < n_bytes / 2
