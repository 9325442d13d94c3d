"""What do smaller models lose? Variants of `lamina compress` on the STS Benchmark.

    python benchmarks/compress.py [--model minilm] [--data FOLDER] [--variants "--layers 4" ...]

For each variant: Spearman's correlation × 100 of the test set's scores with the cosines of mean-pooled texts, at the
last layer left; the cosines of that layer's vectors with the original's, as `lamina compress` prints them; bytes of
weights and time for a token as shares of the original's. `dev`: calibrated and measured on the sentences of the
development set (no scores) instead of the built-in texts. Prints a table and one JSON line, which
benchmarks/results/compress.json keeps.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy.stats import spearmanr

import lamina
from lamina.compress.smaller import compress

HERE = Path(__file__).parent
VARIANTS = [
    "--layers 5", "--layers 4", "--layers 3",
    "--precision bfloat16", "--precision float16", "--precision int8",
    "--heads 90%", "--heads 75%", "--heads 50%", "--heads 9", "--heads 6",
    "--ffn-rank 80%", "--ffn-rank 60%",
    "--heads 75% dev", "--heads 50% dev", "--ffn-rank 80% dev", "--ffn-rank 60% dev",
    "--layers 5 --heads 75% --precision int8 dev",
]  # fmt: skip

Pairs = tuple[list[float], list[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LAMINA_DATA", HERE / "../../shared/data")))
    parser.add_argument("--variants", nargs="*", help="only these, nothing is kept")
    arguments = parser.parse_args()
    dev, test = (pairs(arguments.data / "sts" / f"STSB-{part}.tsv") for part in ("dev", "test"))
    rows = [{"variant": "as it is", "spearman": spearman(arguments.model, test)}]
    show(rows[0])
    for variant in arguments.variants or VARIANTS:
        rows.append(measured(arguments.model, variant, dev, test))
        show(rows[-1])
    document = {"model": arguments.model, "versions": {"lamina": lamina.__version__}, "rows": rows}
    print(json.dumps(document))
    if not arguments.variants:
        (HERE / "results" / "compress.json").write_text(json.dumps(document, indent=1) + "\n")


def pairs(path: Path) -> Pairs:
    """The scores, and the two sentences of each pair one after the other."""
    rows = [line.split("\t") for line in path.read_text("utf-8").rstrip("\n").split("\n")]
    return [float(row[0]) for row in rows], [text for row in rows for text in row[1:3]]


def spearman(model: str | Path, of: Pairs) -> float:
    scores, texts = of
    vectors = lamina.load(model).extract(texts, layers=-1, normalize=True)
    last = vectors.layer(vectors.layers[-1]).astype(np.float64)
    return 100 * float(spearmanr((last[0::2] * last[1::2]).sum(axis=1), scores).statistic)


def measured(model: str, variant: str, dev: Pairs, test: Pairs) -> dict[str, Any]:
    words = shlex.split(variant)
    sample = dev[1] if "dev" in words else None
    options: dict[str, Any] = {
        name.removeprefix("--").replace("-", "_"): int(value) if value.isdigit() else value
        for name, value in pairwise(words)
        if name.startswith("--")
    }
    with TemporaryDirectory() as folder:
        made = compress(model, Path(folder) / "small", sample=sample, **options)
        cost = made.cost
        return {
            "variant": variant,
            "spearman": spearman(made.folder, test),
            "mean_cosine": cost.mean[-1],
            "worst_cosine": cost.worst[-1],
            "bytes": cost.after.bytes / cost.before.bytes,
            "seconds": cost.after.seconds_per_token / cost.before.seconds_per_token,
        }


def show(row: dict[str, Any]) -> None:
    cells = [row["variant"], f"{row['spearman']:.2f}"]
    if len(row) > 2:
        cells += [f"{row[name]:.4f}" for name in ("mean_cosine", "worst_cosine")]
        cells += [f"{row[name]:.0%}" for name in ("bytes", "seconds")]
    print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
