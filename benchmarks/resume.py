"""What it costs to go on: a job is stopped half-way and given again, against one that nobody stops.

    python benchmarks/resume.py [--limit 2000] [--model minilm] [--file FILE.jsonl]

What is measured: the seconds of the command (the model's loading and compiling too) that does a whole job, every layer
of every token, and of the same command after a job of which SIGTERM left a part. Why: a job that goes on shall cost no
more than what is missing, and 2 seconds. The two run one after the other, so on a busy machine the figure is rough.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

DATA = Path(os.environ.get("LAMINA_DATA", Path(__file__).parent / "../../shared/data"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=2000, help="the first texts only")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--file", type=Path, default=DATA / "throughput" / "english_20k.jsonl")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "first.jsonl"
        with arguments.file.open("rb") as whole:
            source.write_bytes(b"".join(islice(whole, arguments.limit)))
        command = [sys.executable, "-m", "lamina", "extract", str(source), "--text", "text", "--unit", "token"]
        command += ["--model", arguments.model, "--quiet", "--json", "-o"]
        whole_seconds, n_shards = undisturbed([*command, f"{folder}/whole"])
        stop([*command, f"{folder}/stopped"], Path(folder) / "stopped", n_shards // 2)
        manifest = json.loads((Path(folder) / "stopped" / "manifest.json").read_text())
        resumed_seconds, _ = undisturbed([*command, f"{folder}/stopped"])
        total = json.loads((Path(folder) / "whole" / "manifest.json").read_text())["n_tokens"]
        same = subprocess.run(["diff", "-r", f"{folder}/whole", f"{folder}/stopped"], check=False).returncode == 0
    missing = 1 - manifest["n_tokens"] / total
    over = resumed_seconds - missing * whole_seconds
    print(f"{whole_seconds:>8.1f} s  the whole job, {n_shards} shards")
    print(f"{resumed_seconds:>8.1f} s  the same command where {missing:.0%} of the tokens were missing")
    print(f"{over:>8.1f} s  more than that share; the files are {'the same' if same else 'NOT the same'}")
    print(
        json.dumps({"whole": whole_seconds, "resumed": resumed_seconds, "missing": missing, "over": over, "same": same})
    )
    sys.exit(not same)


def undisturbed(command: list[str]) -> tuple[float, int]:
    """Seconds, and shards."""
    started = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    seconds = time.perf_counter() - started
    return seconds, len(json.loads(done.stdout)["datasets"][0]["manifest"]["shards"])


def stop(command: list[str], out: Path, n_shards: int) -> None:
    """Run until so many shards are there."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(list(out.glob("shards/part-*"))) < n_shards:
        if process.poll() is not None:
            sys.exit("the job ended before it could be stopped: give a larger --limit")
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.wait()


if __name__ == "__main__":
    main()
