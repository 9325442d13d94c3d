"""`python -m fuzz [TARGET ...] --seconds N`: every target for N seconds, each in a process of its own, and a table.

What is found lies in `fuzz/findings` (not kept in the repository). With `--keep N`, of the inputs that reached new
code, the N smallest are added to `fuzz/corpus`, where the tests run them for ever.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
CORPUS, FINDINGS = HERE / "corpus", HERE / "findings"
HEADS = ("target", "executions", "per second", "crashes", "hangs", "out of memory", "peak MB", "corpus")


def main() -> int:
    from fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], default=[])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--keep", type=int, default=0)
    options = parser.parse_args()
    print("  ".join(f"{head:>13}" for head in HEADS))
    found = 0
    for name in options.targets or TARGETS:
        with tempfile.TemporaryDirectory() as temporary:
            corpus = Path(temporary)
            for seed, content in TARGETS[name].seeds().items():
                (corpus / f"seed-{seed}").write_bytes(content)
            for kept in sorted((CORPUS / name).glob("*")):
                shutil.copy(kept, corpus / kept.name)
            before = {path.name for path in corpus.iterdir()}
            figures = run(name, corpus, options.seconds)
            keep(name, [path for path in corpus.iterdir() if path.name not in before], options.keep)
            print("  ".join(f"{value:>13}" for value in (name, *figures, len(list(corpus.iterdir())))), flush=True)
            found += sum(figures[2:5])
    return 1 if found else 0


def run(name: str, corpus: Path, seconds: float) -> tuple[int, int, int, int, int, int]:
    """Executions, those of a second, crashes, hangs, inputs that took too much memory, and the peak of memory in MB."""
    findings = FINDINGS / name
    before = {path.name for path in findings.glob("*")}
    started = time.monotonic()
    command = [sys.executable, "-m", "fuzz.worker", name, str(corpus), str(findings), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent, errors="replace", check=False)
    took = time.monotonic() - started
    new = [path.name for path in findings.glob("*") if path.name not in before]
    kinds = [sum(one.startswith(kind) for one in new) for kind in ("crash-", "timeout-", "oom-")]
    executions, peak = _figures(done)
    if done.returncode and not sum(kinds):
        kinds[0] = 1
    if sum(kinds):
        (FINDINGS / f"{name}.log").write_text(done.stdout + done.stderr)
    return executions, round(executions / took), *kinds, peak  # type: ignore[return-value]


def keep(name: str, found: list[Path], n: int) -> None:
    """Add the smallest of the inputs that reached new code to the corpus of a target."""
    (CORPUS / name).mkdir(parents=True, exist_ok=True)
    for path in sorted(found, key=lambda path: path.stat().st_size)[:n]:
        shutil.copy(path, CORPUS / name / path.name[:16])


def _figures(done: subprocess.CompletedProcess[str]) -> tuple[int, int]:
    stats = dict(re.findall(r"stat::(\w+):\s+(\d+)", done.stderr))
    if stats:
        return int(stats["number_of_executed_units"]), int(stats["peak_rss_mb"])
    figures = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {"executions": 0, "peak": 0}
    return figures["executions"], figures["peak"]


if __name__ == "__main__":
    sys.exit(main())
