"""One target, in a process of its own: `python -m fuzz.worker TARGET CORPUS FINDINGS SECONDS`.

Guided by coverage where atheris is installed (libFuzzer under Python), else by our own engine, which changes inputs in
the same ways and keeps those that end in a new way. The last line of stdout is a JSON object with what was done.
"""

from __future__ import annotations

import faulthandler
import hashlib
import json
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from fuzz.changes import LONGEST, changed

HANG = 30  # seconds after which one input counts as a hang
RSS = 3_000  # MB of resident memory that count as a finding


def main() -> None:
    name, corpus, findings, seconds = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])
    findings.mkdir(parents=True, exist_ok=True)
    if Path("/dev/shm").is_dir():  # noqa: S108 - each input makes a folder: in memory, several times as many a second
        tempfile.tempdir = "/dev/shm"  # noqa: S108
    try:
        import atheris
    except ImportError:
        from fuzz.targets import TARGETS

        print(json.dumps(mutate(TARGETS[name].run, corpus, findings, seconds)))
        return
    with atheris.instrument_imports(include=["lamina"]):
        from fuzz.targets import TARGETS
    options = [f"-max_total_time={seconds:.0f}", f"-timeout={HANG}", f"-rss_limit_mb={RSS}", f"-max_len={LONGEST}"]
    options += [f"-artifact_prefix={findings}/", "-print_final_stats=1", "-verbosity=1"]
    seeds = list(TARGETS[name].seeds().values())

    def mutator(data: bytes, longest: int, seed: int) -> bytes:
        rng = random.Random(seed)
        return changed(data, rng, seeds)[:longest] if rng.random() < 0.5 else atheris.Mutate(data, longest)

    atheris.Setup([sys.argv[0], *options, str(corpus)], TARGETS[name].run, custom_mutator=mutator)
    atheris.Fuzz()


def mutate(run: Callable[[bytes], None], corpus: Path, findings: Path, seconds: float) -> dict[str, float]:
    """Change the inputs of a corpus for some seconds; an input that is a finding is written among the findings, and so
    is the one at work, which stays there (`crash-running`) where it ends or stops the process."""
    running = findings / "crash-running"
    rng = random.Random(0)
    held = [path.read_bytes() for path in sorted(corpus.iterdir())] or [b""]
    seen: set[str] = set()
    n_runs = n_findings = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = changed(rng.choice(held), rng, held)
        n_runs += 1
        running.write_bytes(data)
        faulthandler.dump_traceback_later(HANG, exit=True, file=sys.__stderr__)
        try:
            run(data)
            ended = "sound"
        except BaseException as error:  # panics are no Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            ended = "".join(traceback.format_exception(error)[-2:])
            n_findings += 1
            if ended not in seen:
                (findings / f"crash-{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)
                print(ended, file=sys.stderr)
        if ended not in seen:
            seen.add(ended)
            held.append(data)
    faulthandler.cancel_dump_traceback_later()
    running.unlink(missing_ok=True)
    return {"executions": n_runs, "findings": n_findings, "peak": _peak()}


def _peak() -> int:
    """The most resident memory so far in MB; 0 where the system does not say."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
