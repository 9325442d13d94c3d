"""How much memory, whatever the length of the corpus: a whole file to a dataset through the command line.

    python benchmarks/memory.py [--unit text] [--layers all] [--precision float32] [--limit N] [--model minilm]
                                [--file FILE.jsonl] [--texts N] [--out FOLDER]

What is measured: the resident memory of the process that runs `lamina extract`, at its peak and in each tenth of its
time, its seconds (the model's loading too) and the rows it wrote. Why: memory must be bounded by the part that is
worked on, so the peak for 20,000 texts shall be near that for --limit 300, and the last tenth shall be like the first,
while the dataset grows with the corpus. --texts makes a file of so many short texts, all different.
Words and tokens of the whole file in every layer take some ten gigabytes on disk, in a temporary folder unless --out
names one, which is then kept.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from itertools import islice, pairwise
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
DATA = Path(os.environ.get("LAMINA_DATA", HERE / "../../shared/data"))
UNITS = ("text", "sentence", "word", "token")
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes of one ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unit", choices=UNITS, default="text")
    parser.add_argument("--layers", default="all")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--limit", type=int, help="the first texts only")
    parser.add_argument("--texts", type=int, help="so many short texts, made up")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--file", type=Path, default=DATA / "throughput" / "english_20k.jsonl")
    parser.add_argument("--out", type=Path, help="keep the dataset in this folder, new or empty")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = arguments.file if arguments.limit is None else first(arguments.file, arguments.limit, Path(folder))
        if arguments.texts is not None:
            source = made_up(arguments.texts, Path(folder))
        out = arguments.out or Path(folder) / "dataset"
        names = ("model", "unit", "layers", "precision")
        result = measured(source, out, {name: getattr(arguments, name) for name in names})
    report(result)


def first(file: Path, n_lines: int, folder: Path) -> Path:
    """A copy of a file's first lines."""
    part = folder / f"first{file.suffix}"
    with file.open("rb") as whole, part.open("wb") as copy:
        copy.writelines(islice(whole, n_lines))
    return part


def made_up(n_texts: int, folder: Path) -> Path:
    """Short texts of 4 to 12 words, all different."""
    rng, path = random.Random(0), folder / "made-up.jsonl"
    words = (
        "the",
        "river",
        "bank",
        "raised",
        "its",
        "rates",
        "while",
        "old",
        "boats",
        "drift",
        "past",
        "every",
        "light",
    )
    with path.open("w") as file:
        for number in range(n_texts):
            text = " ".join(rng.choices(words, k=rng.randint(3, 11)))
            file.write(json.dumps({"text": f"{text} {number}"}) + "\n")
    return path


def measured(source: Path, out: Path, options: dict[str, str]) -> dict[str, object]:
    """Run the command in a process of its own. The only child of this one, so its peak is that of all children."""
    command = [sys.executable, "-m", "lamina", "extract", str(source), "-o", str(out), "--text", "text"]
    command += ["--quiet", "--json", *(word for name, value in options.items() for word in (f"--{name}", value))]
    started = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said)
        samples: list[int] = []
        while process.poll() is None:
            samples.append(resident(process.pid))
            time.sleep(0.2)
        seconds = time.perf_counter() - started
        if process.returncode:
            sys.exit(process.returncode)
        said.seek(0)
        manifest = json.load(said)["datasets"][0]["manifest"]
    return {
        "file": source.name,
        **options,
        "texts": manifest["n_texts"],
        "rows": manifest["n_rows"],
        "dataset_bytes": sum(path.stat().st_size for path in out.rglob("*") if path.is_file()),
        "peak_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * RSS_UNIT,
        "tenths": tenths(samples),
        "seconds": round(seconds, 2),
    }


def resident(pid: int) -> int:
    """The resident bytes of a process now; 0 where the system does not say."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def tenths(samples: list[int]) -> list[dict[str, int]]:
    """The median and the most of each tenth of the time."""
    bounds = [len(samples) * k // 10 for k in range(11)]
    parts = [samples[low:high] for low, high in pairwise(bounds)]
    return [{"median": int(median(part)), "most": max(part)} for part in parts if part]


def report(result: dict[str, object]) -> None:
    print(f"{result['model']}, unit {result['unit']}: {result['texts']:,} texts, {result['rows']:,} rows")
    print(f"{int(str(result['peak_bytes'])) / 1e6:>10,.0f} MB peak resident memory")
    print(f"{int(str(result['dataset_bytes'])) / 1e6:>10,.0f} MB on disk")
    print(f"{result['seconds']:>10,.1f} s")
    print("resident memory by tenths of the time, in MB (median, most):")
    tenths = result["tenths"]
    assert isinstance(tenths, list)
    print("  " + "  ".join(f"{part['median'] / 1e6:,.0f} ({part['most'] / 1e6:,.0f})" for part in tenths))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
