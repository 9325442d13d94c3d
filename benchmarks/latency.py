"""How long one short text takes: warm, from a Python call, and cold, from the start of a process to its first vector.

    python benchmarks/latency.py [--model minilm] [--rounds 300] [--starts 5]

What is measured: `model.extract([text])` of one text, every layer, in each precision that this machine has natively
(median of the rounds), beside what the compiled network alone takes on the same batch; and the seconds by the clock of
a new process that loads the model in float32 and extracts that text. Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import openvino as ov

import lamina
from lamina.engine.batch import Program
from lamina.engine.openvino import native_precisions
from lamina.extraction.extractor import Extractor
from lamina.extraction.precision import text_batches

TEXT = "The river bank was steep and muddy after the long rain in early spring"
WARM = 20  # calls that are not counted
COLD = "import sys, lamina; lamina.load(sys.argv[1]).extract([sys.argv[2]])"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--starts", type=int, default=5)
    arguments = parser.parse_args()
    rows = []
    for precision in native_precisions(ov.Core()):
        model = lamina.load(arguments.model, precision=precision)
        called = median_ms(lambda model=model: model.extract([TEXT]), arguments.rounds)
        rows.append({"precision": precision, "call_ms": called, "network_ms": network_ms(model, arguments.rounds)})
    command = [sys.executable, "-c", COLD, arguments.model, TEXT]
    cold = [seconds(lambda: subprocess.run(command, check=True)) for _ in range(arguments.starts)]
    n_tokens = int(model.tokenizer.encode([TEXT]).bounds[-1])
    print(f"one text of {n_tokens} tokens, every layer, warm, median of {arguments.rounds}\n")
    print(f"{'':<12}{'a call':>10}{'network':>10}")
    for row in rows:
        print(f"{row['precision']:<12}{row['call_ms']:>7.2f} ms{row['network_ms']:>7.2f} ms")
    print(f"\na process to its first vector, float32: {min(cold):.2f} to {max(cold):.2f} s")
    print(json.dumps({"model": arguments.model, "tokens": n_tokens, "warm": rows, "cold_seconds": cold}))


def network_ms(model: Extractor, rounds: int) -> float:
    """Milliseconds of the engine alone on the text as a batch of its own."""
    batches = text_batches([TEXT], model.architecture, model.tokenizer, batch_tokens=model.engine.batch_tokens)
    program = Program(tuple(range(model.architecture.n_layers + 1)), ("sum",))
    return median_ms(lambda: list(model.engine.run(program, batches)), rounds)


def median_ms(run: Callable[[], object], rounds: int) -> float:
    for _ in range(WARM):
        run()
    return round(1e3 * statistics.median(seconds(run) for _ in range(rounds)), 3)


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
