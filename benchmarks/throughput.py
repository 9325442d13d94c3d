"""How fast, against the peers, side by side in one run: all layers, mean-pooled, from strings to arrays.

    python benchmarks/throughput.py [--texts 500] [--rounds 3] [--file FILE.jsonl] [--max-tokens 256]

What is measured: tokens a second (padding not counted) over the same real texts, cut at the same length, on the same
weights (all-MiniLM-L6-v2), each contestant warmed up on a few texts and then run in turn, round after round, so that a
noisy machine hits all alike. What is compared is the ratio to the usual loop: the median over rounds, with its spread.

    loop     transformers, 32 texts at a time as they come, padded to the longest, output_hidden_states, masked means
    sorted   the same, sorted by length first
    st       sentence-transformers; it gives the last layer only
    lamina   this library, every layer
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import lamina

HERE = Path(__file__).parent
DATA = Path(os.environ.get("LAMINA_DATA", HERE / "../../shared/data"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--file", type=Path, default=DATA / "throughput" / "english_20k.jsonl")
    parser.add_argument("--max-tokens", type=int, default=256)
    arguments = parser.parse_args()
    lines = [line for line in arguments.file.read_bytes().split(b"\n") if line]
    texts = [json.loads(lines[i])["text"] for i in np.random.default_rng(0).permutation(len(lines))[: arguments.texts]]
    model = lamina.load("minilm", precision="auto")
    counts = np.minimum(np.diff(model.tokenizer.encode(texts).bounds), arguments.max_tokens)
    print(f"{len(texts)} texts, {counts.sum():,} tokens, longest {counts.max()}; {model}")
    runs = contestants(model, arguments.max_tokens)
    for run in runs.values():
        run(texts[:32])
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(arguments.rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            run(texts)
            seconds[name].append(time.perf_counter() - started)
    report(seconds, int(counts.sum()), repr(model))


def contestants(model: lamina.Extractor, max_tokens: int) -> dict[str, Callable[[list[str]], object]]:
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel, AutoTokenizer

    folder = str(model.checkpoint.folder)
    tokenizer, bert = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    peer = SentenceTransformer(folder, device="cpu")
    peer.max_seq_length = max_tokens

    def loop(texts: list[str]) -> object:
        found = []
        for low in range(0, len(texts), 32):
            inputs = tokenizer(
                texts[low : low + 32], padding=True, truncation=True, max_length=max_tokens, return_tensors="pt"
            )
            with torch.inference_mode():
                states = bert(**inputs, output_hidden_states=True).hidden_states
            mask = inputs["attention_mask"][:, :, None]
            found.append([(state * mask).sum(1) / mask.sum(1) for state in states])
        return found

    return {
        "loop": loop,
        "sorted": lambda texts: loop(sorted(texts, key=len)),
        "st": lambda texts: peer.encode(texts, batch_size=32, show_progress_bar=False),
        "lamina": lambda texts: model.extract(texts, long="truncate", max_tokens=max_tokens),
    }


def report(seconds: dict[str, list[float]], n_tokens: int, model: str) -> None:
    print(f"{'':<8}{'tokens/s':>10}{'× the loop':>12}   spread")
    result = {"model": model, "tokens": n_tokens, "rates": {}, "ratios": {}}
    for name, times in seconds.items():
        ratios = [base / own for base, own in zip(seconds["loop"], times, strict=True)]
        rate = n_tokens / statistics.median(times)
        print(f"{name:<8}{rate:>10,.0f}{statistics.median(ratios):>12.2f}   {min(ratios):.2f} to {max(ratios):.2f}")
        result["rates"][name] = round(rate)
        result["ratios"][name] = [round(ratio, 2) for ratio in ratios]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
