"""What `make demo` runs: every layer of 240 sentences, as texts and as words, and one true thing that the layers show.

python examples/demo.py [FOLDER]      FOLDER: where the two datasets go, demo-output by default
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

import lamina

SENTENCES = Path(__file__).with_name("senses.csv")


def main(folder: Path) -> None:
    model = lamina.load("minilm")
    print(f"{model}\n")
    for unit in ("text", "word"):
        started = time.perf_counter()
        dataset = lamina.extract(SENTENCES, folder / unit, model=model, unit=unit, dtype="float32", overwrite=True)
        seconds = time.perf_counter() - started
        n_bytes = sum(shard.n_bytes for shard in dataset.manifest.shards)
        rate = dataset.manifest.n_tokens / seconds
        print(f"{dataset}\n  {n_bytes / 1e6:.1f} MB in {seconds:.1f} s, {rate:,.0f} tokens/s")
    print(f"  pandas.read_parquet({str(folder / 'word' / 'shards')!r}) opens it.\n")
    senses(lamina.open(folder / "word"))


def senses(words: lamina.Dataset) -> None:
    """Of the 20 sentences with `bank`, ten are about money and ten about rivers. Where does the model know?"""
    rows = words.units.append_column("row", [list(range(len(words)))])
    found = rows.filter(pc.equal(pc.utf8_lower(rows["surface"]), rows["word"]))  # the ambiguous word of each sentence
    bank = found.filter(pc.equal(found["word"], "bank"))
    print("layer   bank/bank of money   bank of money/of a river   nearest other use has the same sense (12 words)")
    for layer in words.layers:
        vectors = words.layer(layer)
        money = cosines(vectors, bank, bank, "money", "money")
        river = cosines(vectors, bank, bank, "money", "river")
        print(f"{layer:>5}   {money:^18.3f}   {river:^24.3f}   {nearest_agrees(vectors, found):>10.0%}")
    print("\nLayer 0 has no context: it cannot tell the senses apart. The layer that can best is not the last one.")


def cosines(vectors: np.ndarray, left: object, right: object, sense: str, other: str) -> float:
    """The mean cosine over all pairs of two different rows."""
    a = unit(vectors[left.filter(pc.equal(left["sense"], sense))["row"]])
    b = unit(vectors[right.filter(pc.equal(right["sense"], other))["row"]])
    table = a @ b.T
    return float(table[~np.eye(len(table), dtype=bool)].mean() if sense == other else table.mean())


def nearest_agrees(vectors: np.ndarray, found: object) -> float:
    """How often the most similar other use of the same word has the same sense."""
    hits = []
    for word in found["word"].unique().to_pylist():
        uses = found.filter(pc.equal(found["word"], word))
        sense = np.array(uses["sense"].to_pylist())
        table = unit(vectors[uses["row"]])
        table = table @ table.T
        np.fill_diagonal(table, -np.inf)
        hits.extend(sense == sense[table.argmax(axis=1)])
    return float(np.mean(hits))


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output"))
