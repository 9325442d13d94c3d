"""How fast does our loop train, against transformers' Trainer on the same model, texts, precision and optimizer?

    python benchmarks/train.py [--model minilm] [--data FOLDER] [--examples 256] [--rounds 3] [--precision bfloat16]

Two inputs: sequences of one length, where nobody pads, and real texts of uneven lengths (english_20k of the shared
data, drawn at random, cut at 256 tokens), which the Trainer pads to the longest of each batch: in random order, as it
does by default, and in the very batches of about equal lengths that ours are (`trainer, our batches`). Each side trains
one epoch in a process of its own, after a warm-up of a few steps, in turn, `--rounds` times. Tokens are those of the
texts; padding does not count. Peak memory is the process's largest resident set (on a GPU: the allocator's peak).
Besides seconds on the clock there are those that all threads computed: on a machine where others work too, they say
more.

Prints a table, the ratios with the bars of issue 8 (1.0 times on one length, 1.3 times on uneven texts), and one JSON
line, which is also written to benchmarks/results/train.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as `lamina train` has it, for both sides

import numpy as np

HERE = Path(__file__).parent
BATCH, LENGTH, LONGEST, WARM = 32, 128, 256, 4
BARS = {"even": 1.0, "uneven": 1.3}
SIDES = {"even": ("lamina", "trainer"), "uneven": ("lamina", "trainer", "trainer, our batches")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LAMINA_DATA", HERE / "../../shared/data")))
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--one", nargs=2, metavar=("SIDE", "INPUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(*arguments.one, arguments)))
        return
    results: dict[str, Any] = {
        "model": arguments.model, "precision": arguments.precision, "examples": arguments.examples, "batch": BATCH,
        "inputs": {},
    }  # fmt: skip
    for given, sides in SIDES.items():
        rounds = [{side: apart(side, given, arguments) for side in sides} for _ in range(arguments.rounds)]
        results["inputs"][given] = report(given, rounds)
    print(json.dumps(results))
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "train.json").write_text(json.dumps(results, indent=1) + "\n")


def apart(side: str, given: str, arguments: argparse.Namespace) -> dict[str, float]:
    """One side's epoch in a process of its own."""
    asked = [sys.executable, __file__, "--one", side, given, "--model", arguments.model, "--data", str(arguments.data)]
    asked += ["--examples", str(arguments.examples), "--precision", arguments.precision]
    done = subprocess.run(asked, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(given: str, rounds: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """A line a side; ratios within each round, their median."""
    rows: dict[str, Any] = {}
    print(f"\n{given}: {rounds[0]['lamina']['tokens']:,.0f} tokens")
    print(f"{'':<20}{'tokens/s':>10}{'peak GB':>9}{'ours, times as fast':>21}{'by CPU time':>13}{'of its memory':>15}")
    for side in rounds[0]:
        speeds = [held[side]["tokens"] / held[side]["seconds"] for held in rounds]
        peak = statistics.median(held[side]["peak_bytes"] for held in rounds)
        ratios = [held[side]["seconds"] / held["lamina"]["seconds"] for held in rounds]
        of_cpu = [held[side]["cpu_seconds"] / held["lamina"]["cpu_seconds"] for held in rounds]
        memory = statistics.median(held["lamina"]["peak_bytes"] / held[side]["peak_bytes"] for held in rounds)
        rows[side] = {
            "tokens_per_second": statistics.median(speeds), "peak_bytes": peak, "ratio": statistics.median(ratios),
            "ratios": ratios, "cpu_ratio": statistics.median(of_cpu), "memory_ratio": memory,
        }  # fmt: skip
        print(
            f"{side:<20}{rows[side]['tokens_per_second']:>10,.0f}{peak / 1e9:>9.2f}"
            f"{rows[side]['ratio']:>14.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
            f"{rows[side]['cpu_ratio']:>9.2f}{memory:>15.2f}"
        )
    print(f"bar: {BARS[given]} times the trainer: {'met' if rows['trainer']['ratio'] >= BARS[given] else 'MISSED'}")
    return rows


def one(side: str, given: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Train one epoch; tokens, seconds, peak memory."""
    from lamina.model.checkpoint import find_checkpoint
    from lamina.text.tokenizer import load_tokenizer

    folder = find_checkpoint(arguments.model).folder
    rows = sequences(given, arguments, load_tokenizer(folder))
    for part in (rows[: WARM * BATCH], rows):
        computed = -time.process_time()
        if side == "lamina":
            seconds = lamina_epoch(part, folder, arguments.precision)
        else:
            seconds = trainer_epoch(part, folder, arguments.precision, by_length=side == "trainer, our batches")
        computed += time.process_time()
    return {"tokens": sum(map(len, rows)), "seconds": seconds, "cpu_seconds": computed, "peak_bytes": peak()}


def sequences(given: str, arguments: argparse.Namespace, tokenizer: Any) -> list[list[int]]:
    """Token ids, special ones included."""
    lines = (arguments.data / "throughput" / "english_20k.jsonl").read_bytes().splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    order = np.random.default_rng(0).permutation(len(texts))
    if given == "uneven":
        tokens = tokenizer.encode([texts[i] for i in order[: arguments.examples]])
        return [
            [*tokens.ids[low : min(high, low + LONGEST) - 1].tolist(), int(tokens.ids[high - 1])]
            for low, high in zip(tokens.bounds[:-1].tolist(), tokens.bounds[1:].tolist(), strict=True)
        ]
    tokens = tokenizer.encode([texts[i] for i in order[:4000]])
    ordinary, first, last = tokens.ids[~tokens.special], int(tokens.ids[0]), int(tokens.ids[-1])
    width = LENGTH - 2
    assert ordinary.size >= arguments.examples * width
    cut = ordinary[: arguments.examples * width].reshape(-1, width)
    return [[first, *row.tolist(), last] for row in cut]


def lamina_epoch(rows: list[list[int]], folder: Path, precision: Any) -> float:
    from lamina.train.classify import Classification, Encoded
    from lamina.train.loop import train
    from lamina.train.model import with_head
    from lamina.train.sequences import Sequences
    from lamina.train.settings import Settings
    from lamina.train.start import begin

    how = Settings(epochs=1, batch_size=BATCH, precision=precision)
    ids = np.concatenate(rows).astype(np.int32)
    bounds = np.cumsum([0, *map(len, rows)])
    held = Encoded(Sequences(ids, np.zeros_like(ids), bounds), np.arange(len(rows)) % 2)
    module = with_head(begin(folder), "sequence_classification", ("0", "1"), how)
    objective = Classification(module, held, None, np.ones(2, np.float32))
    begun = time.perf_counter()
    train(objective, how)
    return time.perf_counter() - begun


def trainer_epoch(rows: list[list[int]], folder: Path, precision: str, *, by_length: bool) -> float:
    from tempfile import TemporaryDirectory

    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    class Clock(TrainerCallback):  # type: ignore[misc]
        seconds = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.seconds = -time.perf_counter()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.seconds += time.perf_counter()

    if by_length:
        from lamina.train.batching import Steps

        steps = Steps(np.array([len(row) for row in rows], np.int32), BATCH, 0)
        rows = [rows[place] for step in steps.epoch(0) for place in step]
    data = [{"input_ids": row, "labels": number % 2, "length": len(row)} for number, row in enumerate(rows)]
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    with TemporaryDirectory() as out:
        asked = TrainingArguments(
            out, per_device_train_batch_size=BATCH, num_train_epochs=1, bf16=precision == "bfloat16",
            use_cpu=not torch.cuda.is_available(), save_strategy="no", logging_strategy="no", report_to="none",
            disable_tqdm=True, dataloader_pin_memory=False,
            train_sampling_strategy="sequential" if by_length else "random",
        )  # fmt: skip
        clock = Clock()
        collate = DataCollatorWithPadding(AutoTokenizer.from_pretrained(folder))
        Trainer(model, asked, data_collator=collate, train_dataset=data, callbacks=[clock]).train()
    return clock.seconds


def peak() -> float:
    """The most memory that this process has had."""
    import resource

    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


if __name__ == "__main__":
    main()
