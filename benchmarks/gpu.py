"""How fast on a GPU, how close and how repeatable: one command, one table, one JSON file.

    python benchmarks/gpu.py [--texts 8000] [--rounds 3] [--precision bfloat16] [--model base] [--file FILE.jsonl]

What is measured: real uneven texts, cut at 512 tokens, on a model of BERT-base's shape (random weights: speed does not
depend on them), every layer's mean. Contestants take turns, round after round; the median counts. Before that: whether
every layer agrees with the reference on this device, and whether a text's bits depend on its company.

    engine        Lamina, batches ready in memory: what the device reaches
    last          the same, the last layer alone
    tokens        the same, every layer of every token to host memory
    untiled       the same as engine, all rows of a batch multiplied at once: what the promise of equal bits costs
    whole path    Lamina from strings to arrays
    st ...        sentence-transformers in float32, float16, and float16 unpadded (where flash_attn is installed); its
                  last layer only
    loop          transformers, 32 texts at a time, output_hidden_states in 16 bits, copied to the host and pooled there

Without a GPU it says so and ends. `--device cpu --model minilm --texts 40` tries the script itself and judges nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import lamina
from lamina.engine.batch import Batch, Program, Rows
from lamina.engine.devices import has_gpu
from lamina.extraction.batches import make_batches
from lamina.extraction.chunk import make_chunk
from lamina.extraction.regroup import regrouped
from lamina.model.architecture import family_of
from lamina.model.config import read_config
from lamina.model.inventory import n_operations
from lamina.model.weights import read_weights
from lamina.spec import Spec
from lamina.text.sample import sample
from lamina.text.source import rows_of

HERE = Path(__file__).parent
DATA = Path(os.environ.get("LAMINA_DATA", HERE / "../../shared/data"))
RESULT = HERE / "results" / "gpu.json"
PEAK = 989e12  # dense 16-bit operations a second of an H100 or H200 (SXM), by the vendor's datasheet
MAX_TOKENS = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--model", default="base", help="base, minilm or a folder")
    parser.add_argument("--file", type=Path, default=DATA / "throughput" / "english_20k.jsonl")
    arguments = parser.parse_args()
    if arguments.device.startswith("cuda") and not has_gpu():
        print("no GPU that torch sees: nothing is measured (--device cpu --model minilm --texts 40 tries the script)")
        return
    texts = texts_of(arguments.file, arguments.texts)
    with tempfile.TemporaryDirectory() as temporary:
        folder = base_checkpoint(Path(temporary)) if arguments.model == "base" else arguments.model
        model = lamina.load(folder, engine="torch", device=arguments.device, precision=arguments.precision)
        print(f"{len(texts)} texts; {model}")
        result = measured(model, texts, arguments)
    print(json.dumps(result))
    if arguments.device.startswith("cuda"):
        RESULT.write_text(json.dumps(result, indent=1) + "\n")


def measured(model: lamina.Extractor, texts: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    result: dict[str, Any] = {"model": repr(model), "texts": len(texts)}
    result["parity"] = parity(model, arguments.device)
    result["bits"] = {kind: same_bits(one) for kind, one in (("tiled", model), ("untiled", untiled(model, arguments)))}
    batches = list(batches_of(model, texts))
    lengths = np.concatenate([batch.lengths for batch in batches])
    runs = contestants(model, texts, batches, arguments)
    for run in runs.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(arguments.rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    n_tokens = int(lengths.sum())
    rates = {name: n_tokens / statistics.median(times) for name, times in seconds.items()}
    flops = n_operations(model.architecture, lengths.tolist()) / n_tokens  # of a token
    print(f"{n_tokens:,} tokens, longest {lengths.max()}, {flops / 1e6:,.0f} MFLOP a token")
    print(f"{'':<18}{'tokens/s':>12}{'TFLOP/s':>10}{'engine is × this':>18}")
    for name, rate in rates.items():
        print(f"{name:<18}{rate:>12,.0f}{rate * flops / 1e12:>10,.1f}{rates['engine'] / rate:>18.2f}")
    result |= {"tokens": n_tokens, "rates": {name: round(rate) for name, rate in rates.items()}}
    if arguments.device.startswith("cuda"):
        result["limits"] = device_limits(model, arguments.device)
        result["bars"] = bars(rates, flops, result["limits"], model)
        print("limits:", ", ".join(f"{name} {value:,.1f}" for name, value in result["limits"].items()))
        for what, (found, bar, holds) in result["bars"].items():
            print(f"{'holds' if holds else 'MISSED':<8}{what:<64}{found:>10.3f}   bar {bar:g}")
    print("parity, worst relative error of any layer:", result["parity"])
    print("texts with the same bits alone and in company:", result["bits"])
    return result


def bars(
    rates: dict[str, float], flops: float, limits: dict[str, float], model: lamina.Extractor
) -> dict[str, tuple[float, float, bool]]:
    """What was asked for: found, the bar, whether it holds. A peer that is not installed has no row."""
    arch, engine = model.architecture, rates["engine"]
    token_bytes = (arch.n_layers + 1) * arch.width * 2  # as it leaves the device
    limit = min(engine, limits["copy GB/s"] * 1e9 / token_bytes)
    at_least = {
        "share of 989 TFLOP/s": (engine * flops / PEAK, 0.45),
        "share of 989 TFLOP/s, whole path": (rates["whole path"] * flops / PEAK, 0.13),
        "× sentence-transformers float32": (engine / rates["st float32"], 6.0),
        "× output_hidden_states, pooled on the host": (engine / rates["loop"], 8.0),
        "tokens to host memory, share of the smaller of compute and copy": (rates["tokens"] / limit, 0.6),
    }
    if "st float16 flash" in rates:
        at_least["× sentence-transformers float16, flash, unpadded"] = (engine / rates["st float16 flash"], 1.5)
    slower = rates["last"] / engine - 1
    found = {what: (value, bar, value >= bar) for what, (value, bar) in at_least.items()}
    return found | {"all layers slower than the last alone by": (slower, 0.03, slower <= 0.03)}


def contestants(
    model: lamina.Extractor, texts: list[str], batches: list[Batch], arguments: argparse.Namespace
) -> dict[str, Callable[[], object]]:
    n = model.architecture.n_layers
    every, last = Program(tuple(range(n + 1)), ("sum",)), Program((n,), ("sum",))
    by_token = [replace(batch, rows=(every_token(batch),)) for batch in batches]
    free = untiled(model, arguments)

    def exhaust(one: lamina.Extractor, program: Program, given: list[Batch]) -> None:
        for _ in one.engine.run(program, given):
            pass

    return {
        "engine": lambda: exhaust(model, every, batches),
        "last": lambda: exhaust(model, last, batches),
        "tokens": lambda: exhaust(model, every, by_token),
        "untiled": lambda: exhaust(free, every, batches),
        "whole path": lambda: model.extract(texts, long="truncate", max_tokens=MAX_TOKENS),
        **peers(model, texts, arguments),
    }


def peers(model: lamina.Extractor, texts: list[str], arguments: argparse.Namespace) -> dict[str, Callable[[], object]]:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoModel, AutoTokenizer

    folder, device = str(model.checkpoint.folder), arguments.device
    dtype = torch.bfloat16 if arguments.precision == "bfloat16" else torch.float16

    def sentence_transformer(**how: Any) -> Callable[[], object]:
        transformer = Transformer(folder, max_seq_length=MAX_TOKENS, model_kwargs=how)
        peer = SentenceTransformer(modules=[transformer, Pooling(model.architecture.width)], device=device)
        return lambda: peer.encode(texts, batch_size=256, show_progress_bar=False)

    tokenizer = AutoTokenizer.from_pretrained(folder)
    bert = AutoModel.from_pretrained(folder, dtype=dtype).eval().to(device)

    def loop() -> object:
        found = []
        for low in range(0, len(texts), 32):
            cut = {"padding": True, "truncation": True, "max_length": MAX_TOKENS, "return_tensors": "pt"}
            inputs = tokenizer(texts[low : low + 32], **cut).to(device)
            with torch.inference_mode():
                states = [state.cpu().float() for state in bert(**inputs, output_hidden_states=True).hidden_states]
            mask = inputs["attention_mask"].cpu()[:, :, None]
            found.append([((state * mask).sum(1) / mask.sum(1)).numpy() for state in states])
        return found

    made = {
        "st float32": sentence_transformer(),
        "st float16": sentence_transformer(dtype=torch.float16),
        "loop": loop,
    }
    if find_spec("flash_attn") and device.startswith("cuda"):
        made["st float16 flash"] = sentence_transformer(dtype=torch.float16, attn_implementation="flash_attention_2")
    else:
        print("flash_attn is not installed: sentence-transformers runs padded only")
    return made


def parity(model: lamina.Extractor, device: str) -> dict[str, float]:
    """The worst relative error of any layer against plain numpy, in float32 and in the precision that is measured."""
    texts = [text for text in sample() if len(text) < 300][:8]
    expected = lamina.load(model.checkpoint.folder, engine="reference").extract(texts)
    exact = lamina.load(model.checkpoint.folder, engine="torch", device=device)
    found = {}
    for one in (exact, model):
        ours = one.extract(texts)
        errors = [
            np.linalg.norm(ours.layer(k) - expected.layer(k)) / np.linalg.norm(expected.layer(k)) for k in ours.layers
        ]
        found[one.engine.precision] = float(f"{max(errors):.2e}")
    return found


def same_bits(model: lamina.Extractor) -> str:
    """How many texts have the same vectors alone, together, backwards and in batches of another size."""
    texts = sample() + [" ".join(text.split()[: 3 + i % 90]) for i, text in enumerate(sample() * 3)]
    together = model.extract(texts).columns
    others = [
        {name: matrix[::-1] for name, matrix in model.extract(texts[::-1]).columns.items()},
        model.extract(texts, batch_tokens=700).columns,
    ]
    alone = [model.extract([text]).columns for text in texts]
    others.append({name: np.concatenate([one[name] for one in alone]) for name in together})
    same = np.ones(len(texts), np.bool_)
    for other in others:
        for name, matrix in together.items():
            same &= (matrix.view(np.uint32) == np.ascontiguousarray(other[name]).view(np.uint32)).all(axis=1)
    return f"{same.sum()} of {same.size}"


def untiled(model: lamina.Extractor, arguments: argparse.Namespace) -> lamina.Extractor:
    """The same model, all rows of a batch multiplied at once."""
    from lamina.engine.torch import TorchEngine

    config = read_config(model.checkpoint.config_path)
    weights = read_weights(model.checkpoint.weight_files(), model.architecture, family_of(config))
    how = {"precision": model.engine.precision, "device": arguments.device, "threads": model.engine.threads}
    return replace(model, engine=TorchEngine(model.architecture, weights, **how, tiled=False))


def device_limits(model: lamina.Extractor, device: str) -> dict[str, float]:
    """What one large product of matrices reaches, and a copy of a gigabyte to pinned memory."""
    import torch

    n, times = 8192, 20
    dtype = torch.float16 if model.engine.precision == "float16" else torch.bfloat16
    x, y = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    big = torch.empty(1 << 30, dtype=torch.uint8, device=device)
    host = torch.empty(1 << 30, dtype=torch.uint8, pin_memory=True)

    def seconds(work: Callable[[], object]) -> float:
        work()
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(times):
            work()
        torch.cuda.synchronize()
        return (time.perf_counter() - started) / times

    return {
        "matmul TFLOP/s": 2 * n**3 / seconds(lambda: x @ y) / 1e12,
        "copy GB/s": big.numel() / seconds(lambda: host.copy_(big, non_blocking=True)) / 1e9,
    }


def batches_of(model: lamina.Extractor, texts: list[str]) -> Iterator[Batch]:
    """The batches that a job over the texts would compute, one mean a text."""
    plan = model.plan({"": Spec(long="truncate", max_tokens=MAX_TOKENS)})
    n_tokens = model.engine.batch_tokens
    for group in regrouped(rows_of(texts), plan, batch_tokens=n_tokens):
        chunk = make_chunk(group, plan, model.tokenizer, first_row=0)
        made = make_batches(
            chunk, batch_tokens=n_tokens, max_positions=model.architecture.max_tokens, packs=model.engine.packs
        )
        yield from (batch for batch, _ in made)


def every_token(batch: Batch) -> Rows:
    """A row for each token."""
    index = np.flatnonzero(np.arange(batch.ids.shape[1]) < batch.lengths[:, None]).astype(np.int32)
    return Rows(index, np.arange(index.size, dtype=np.int32))


def texts_of(file: Path, n: int) -> list[str]:
    """Texts of a JSONL file, a seeded draw; where there is none, Lamina's own sample, cut at many lengths."""
    if file.is_file():
        lines = [line for line in file.read_bytes().split(b"\n") if line]
        return [json.loads(lines[i])["text"] for i in np.random.default_rng(0).permutation(len(lines))[:n]]
    print(f"{file} is not there: Lamina's own sample, cut at many lengths")
    words = " ".join(sample()).split()
    random = np.random.default_rng(0)
    lengths = np.minimum(random.lognormal(4.2, 0.8, n).astype(int) + 1, len(words))
    return [" ".join(words[i : i + k]) for i, k in zip(random.integers(0, len(words), n), lengths, strict=True)]


def base_checkpoint(folder: Path) -> Path:
    """A model of BERT-base's shape with random weights, and the bundled model's tokenizer."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    BertModel(BertConfig()).save_pretrained(folder)
    bundled = lamina.load("minilm", engine="reference").checkpoint.folder
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        if (bundled / name).is_file():
            (folder / name).write_bytes((bundled / name).read_bytes())
    return folder


if __name__ == "__main__":
    main()
