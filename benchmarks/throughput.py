"""How fast, against the peers, side by side in one run: every layer, mean-pooled, from a file of real texts.

    make bench
    python benchmarks/throughput.py [--model minilm|base|FOLDER] [--texts 500] [--rounds 3] [--max-tokens 256]
                                    [--file FILE.jsonl] [--peers PYTHON] [--only NAME,NAME] [--save]

What is measured: tokens a second (padding not counted) over the same real texts, cut at the same length (`--max-tokens
0`: at what the model takes; Lamina then reads longer texts whole), on the same weights. Each contestant is warmed up by
a whole run, and then all take turns, round after round, so that a noisy machine hits all alike. What is compared are
ratios within a round, to the first contestant's time: their median and spread. `base` is a BERT-base of seeded random
weights: speed does not depend on their values.

The peers are described in peers.py and run in the environment of `--peers`. Lamina, at each precision that this machine
has natively, from the same strings to arrays; `file` is the whole job from the file to a dataset on disk, and `tokens`
the same with a row for each token, in float16 and the format said. The share is the operations on real tokens over the
rate of one large matrix product, measured in the same rounds. Prints a table and one JSON line; `--save` keeps it under
results/.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

import lamina
from lamina.engine.limit import matmul_rate
from lamina.engine.openvino import native_precisions
from lamina.engine.threads import available_threads
from lamina.model.inventory import n_operations
from lamina.text.tokenizer import Tokenizer

HERE = Path(__file__).parent
DATA = Path(os.environ.get("LAMINA_DATA", HERE / "../../shared/data"))
PEERS = (
    "loop", "sorted", "sorted bf16", "flair", "st torch", "st torch bf16", "st onnx", "st openvino", "st openvino int8",
    "ort",
)  # fmt: skip
SHORT = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "int8": "int8"}
REST = 0.5  # seconds between runs, in which the last one's threads stop spinning


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--file", type=Path, default=DATA / "throughput" / "english_20k.jsonl")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--peers", default=sys.executable, help="the Python of the peers' environment")
    parser.add_argument("--only", type=lambda names: names.split(","), help="these contestants alone")
    parser.add_argument("--save", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        document = Bench(arguments, Path(scratch)).run()
    say(document)
    print(json.dumps(document))
    if arguments.save:
        name = f"throughput-{document['model']}-{document['hardware']['cpu_key']}.json"
        (HERE / "results" / name).write_text(json.dumps(document, indent=1) + "\n")


class Bench:
    """One run: the contestants, the rounds, the document."""

    def __init__(self, arguments: argparse.Namespace, scratch: Path) -> None:
        self.arguments, self.scratch, self.threads = arguments, scratch, available_threads()
        self.core = ov.Core()
        like = lamina.load("minilm" if arguments.model == "base" else arguments.model, engine="reference")
        self.limit = arguments.max_tokens or like.architecture.max_tokens
        self.texts = chosen_texts(arguments.file, arguments.texts)
        if arguments.max_tokens:
            self.texts = cut_texts(self.texts, like.tokenizer, self.limit)
        self.file = scratch / "texts.jsonl"
        self.file.write_text("".join(json.dumps({"text": text}) + "\n" for text in self.texts))
        self.lengths = np.diff(like.tokenizer.encode(self.texts).bounds)
        self.like = like.checkpoint.folder
        self.worker = self._started()
        natives = [p for p in native_precisions(self.core) if p != "float16"]  # slower than float32 wherever tried
        self.models = {p: lamina.load(self.folder, precision=p, threads=self.threads) for p in natives}

    def run(self) -> dict[str, Any]:
        contestants = self._contestants()
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        failed: dict[str, str] = {}
        limits: dict[str, list[float]] = {p: [] for p in self.models}
        for turn in range(self.arguments.rounds + 1):  # the first warms up
            for precision, rates in limits.items():
                rates.append(matmul_rate(precision, threads=self.threads, core=self.core))
            for name, contestant in contestants.items():
                if name in failed:
                    continue
                time.sleep(REST)
                try:
                    taken = contestant()
                except RuntimeError as error:
                    failed[name] = str(error)
                    continue
                if turn:
                    seconds[name].append(taken)
                print(f"{turn}: {name} {taken:.2f} s", file=sys.stderr, flush=True)
        self.worker.kill()
        return self._document({name: taken for name, taken in seconds.items() if taken}, limits, failed)

    def _contestants(self) -> dict[str, Callable[[], float]]:
        found: dict[str, Callable[[], float]] = {name: lambda name=name: self._asked(name) for name in PEERS}
        cut: dict[str, Any] = {"long": "truncate", "max_tokens": self.limit} if self.arguments.max_tokens else {}
        for precision, model in self.models.items():
            word = f"lamina {SHORT[precision]}"
            found[word] = timed(lambda model=model: model.extract(self.texts, **cut))
            found[f"{word} last"] = timed(lambda model=model: model.extract(self.texts, layers=-1, **cut))
            half = model.architecture.n_layers // 2
            found[f"{word} half"] = timed(
                lambda model=model, half=half: model.extract(self.texts, layers=list(range(half + 1)), **cut)
            )
            found[f"{word} file"] = timed(lambda model=model: self._job(model, **cut))
            for form in ("arrow", "parquet", "lance"):
                found[f"{word} tokens {form}"] = timed(
                    lambda model=model, form=form: self._job(model, unit="token", format=form, **cut)
                )
        only = self.arguments.only
        if unknown := set(only or ()) - found.keys():
            raise SystemExit(f"no contestant is called {', '.join(sorted(unknown))}; there are {', '.join(found)}")
        return found if only is None else {name: one for name, one in found.items() if name in only}

    def _job(self, model: lamina.Extractor, format: str | None = None, **options: Any) -> None:
        more = {"store": format} if format else {}
        lamina.extract(self.file, self.scratch / "out", model=model, overwrite=True, **options, **more)

    @property
    def folder(self) -> str:
        if self.arguments.model == "base":
            return str(HERE / "models" / "base")
        return str(self.like)

    def _started(self) -> subprocess.Popen[str]:
        worker = subprocess.Popen(
            [self.arguments.peers, str(HERE / "peers.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        asked = {
            "folder": self.folder, "make": self.arguments.model == "base", "tokenizer": str(self.like),
            "texts": self.texts, "max_tokens": self.arguments.max_tokens or 512, "threads": self.threads,
            "exports": str(self.scratch / "exports"),
        }  # fmt: skip
        (self.scratch / "exports").mkdir()
        worker.stdin.write(json.dumps(asked) + "\n")
        worker.stdin.flush()
        if not worker.stdout.readline():
            raise SystemExit("the peers' environment does not start: make bench sets it up")
        return worker

    def _asked(self, name: str) -> float:
        self.worker.stdin.write(json.dumps(name) + "\n")
        self.worker.stdin.flush()
        answer = json.loads(self.worker.stdout.readline() or '{"error": "the worker died"}')
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return float(answer["seconds"])

    def _document(
        self, seconds: dict[str, list[float]], limits: dict[str, list[float]], failed: dict[str, str]
    ) -> dict[str, Any]:
        arch = self.models["float32"].architecture
        n_tokens = int(self.lengths.sum())
        first = next(iter(seconds))
        rows = []
        for name, taken in seconds.items():
            ratios = [base / own for base, own in zip(seconds[first], taken, strict=True)]
            row = {
                "name": name,
                "tokens_per_second": round(n_tokens / statistics.median(taken)),
                "ratio": round(statistics.median(ratios), 2),
                "low": round(min(ratios), 2),
                "high": round(max(ratios), 2),
                "seconds": [round(one, 3) for one in taken],
            }
            if name.startswith("lamina"):
                precision = next(p for p, word in SHORT.items() if name.split()[1] == word)
                highest = arch.n_layers // 2 if name.endswith(" half") else None
                operations = n_operations(arch, self.lengths.tolist(), highest=highest)
                row["share"] = round(operations / statistics.median(taken) / statistics.median(limits[precision]), 3)
            rows.append(row)
        cpu = str(self.core.get_property("CPU", "FULL_DEVICE_NAME"))
        return {
            "model": self.arguments.model,
            "hardware": {
                "cpu": cpu,
                "cpu_key": "-".join(sorted(p for p in self.models if p != "float32")) or "float32",
                "threads": self.threads,
                "matmul_gflops": {p: round(statistics.median(rates) / 1e9) for p, rates in limits.items()},
            },
            "versions": {name: __import__(name).__version__ for name in ("lamina", "openvino")},
            "texts": len(self.texts),
            "tokens": n_tokens,
            "max_tokens": self.arguments.max_tokens,
            "against": first,
            "rows": rows,
            "failed": failed,
        }


def chosen_texts(file: Path, n: int) -> list[str]:
    """So many texts of a JSONL file, the same ones in the same order every time."""
    lines = [line for line in file.read_bytes().split(b"\n") if line]
    return [json.loads(lines[i])["text"] for i in np.random.default_rng(0).permutation(len(lines))[:n]]


def cut_texts(texts: list[str], tokenizer: Tokenizer, limit: int) -> list[str]:
    """What of each text fits into so many tokens, so that nobody has rows for what nobody computes."""
    tokens = tokenizer.encode(texts)
    last = np.minimum(tokens.bounds[:-1] + limit, tokens.bounds[1:]) - 2  # the one before [SEP]
    return [text[: tokens.ends[i]] for text, i in zip(texts, last, strict=True)]


def timed(run: Callable[[], object]) -> Callable[[], float]:
    def taken() -> float:
        started = time.perf_counter()
        run()
        return time.perf_counter() - started

    return taken


def say(document: dict[str, Any]) -> None:
    hardware = document["hardware"]
    print(f"{document['model']}: {document['texts']} texts, {document['tokens']:,} tokens; {hardware['cpu']}")
    print(f"{hardware['threads']} threads; one large product: {hardware['matmul_gflops']} GFLOP/s")
    print(f"ratio: to {document['against']}; share: of one large product\n")
    print(f"{'':<28}{'tokens/s':>10}{'ratio':>12}{'spread':>16}{'share':>8}")
    for row in document["rows"]:
        spread, share = f"{row['low']:.2f} to {row['high']:.2f}", f"{row['share']:.0%}" if "share" in row else ""
        print(f"{row['name']:<28}{row['tokens_per_second']:>10,}{row['ratio']:>12.2f}{spread:>16}{share:>8}")
    for name, why in document["failed"].items():
        print(f"{name}: failed, {why}")


if __name__ == "__main__":
    main()
