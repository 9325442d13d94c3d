"""How much memory, whatever the length of the corpus: a whole file to a dataset through the command line.

    python benchmarks/memory.py [--unit text] [--limit N] [--model minilm] [--file FILE.jsonl] [--out FOLDER]

What is measured: the peak resident memory of the process that runs `lamina extract` with every layer, its seconds (the
model's loading too) and the rows it wrote. Why: memory must be bounded by the part that is worked on, so the peak for
20,000 texts shall be near that for --limit 300, while the dataset grows with the corpus. Words and tokens of the whole
file in every layer take some ten gigabytes on disk, in a temporary folder unless --out names one, which is then kept.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

HERE = Path(__file__).parent
DATA = Path(os.environ.get("LAMINA_DATA", HERE / "../../shared/data"))
UNITS = ("text", "sentence", "word", "token")
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes of one ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unit", choices=UNITS, default="text")
    parser.add_argument("--limit", type=int, help="the first texts only")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--file", type=Path, default=DATA / "throughput" / "english_20k.jsonl")
    parser.add_argument("--out", type=Path, help="keep the dataset in this folder, new or empty")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = arguments.file if arguments.limit is None else first(arguments.file, arguments.limit, Path(folder))
        out = arguments.out or Path(folder) / "dataset"
        result = measured(source, out, model=arguments.model, unit=arguments.unit)
    report(result)


def first(file: Path, n_lines: int, folder: Path) -> Path:
    """A copy of a file's first lines."""
    part = folder / f"first{file.suffix}"
    with file.open("rb") as whole, part.open("wb") as copy:
        copy.writelines(islice(whole, n_lines))
    return part


def measured(source: Path, out: Path, *, model: str, unit: str) -> dict[str, str | int | float]:
    """Run the command in a process of its own. The only child of this one, so its peak is that of all children."""
    command = [sys.executable, "-m", "lamina", "extract", str(source), "-o", str(out)]
    command += ["--text", "text", "--model", model, "--unit", unit, "--quiet", "--json"]
    started = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    seconds = time.perf_counter() - started
    manifest = json.loads(done.stdout)["datasets"][0]["manifest"]
    return {
        "file": source.name,
        "model": model,
        "unit": unit,
        "texts": manifest["n_texts"],
        "rows": manifest["n_rows"],
        "dataset_bytes": sum(path.stat().st_size for path in out.rglob("*") if path.is_file()),
        "peak_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * RSS_UNIT,
        "seconds": round(seconds, 2),
    }


def report(result: dict[str, str | int | float]) -> None:
    print(f"{result['model']}, unit {result['unit']}: {result['texts']:,} texts, {result['rows']:,} rows")
    print(f"{int(result['peak_bytes']) / 1e6:>10,.0f} MB peak resident memory")
    print(f"{int(result['dataset_bytes']) / 1e6:>10,.0f} MB on disk")
    print(f"{result['seconds']:>10,.1f} s")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
