"""What a trained thing costs on top of its layer: `lamina classify predict` and `tag predict` against extraction alone.

    python benchmarks/predict.py FOLDER [--texts 4000] [--rounds 3] [--file FILE.jsonl] [--unit text]

What is measured, in one process and in turn: extraction of just the layers that the classifier (or tagger) in FOLDER
needs; the same with predictions, written as lines to nowhere. Why: a classifier is used on far more texts than it was
trained on, and what it adds to the model's own time should be nothing to speak of. Processor time is given beside the
clock's: on a machine that others use too, it is the steadier one. One line for people, one of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from lamina.apps.classify.classifier import read_classifier
from lamina.apps.tag.tagger import read_tagger
from lamina.apps.trained import FILE
from lamina.cli.classify import WRITERS
from lamina.cli.tag import _as_json, _by_text, _views
from lamina.cli.trained import whole_texts
from lamina.embeddings import Embeddings
from lamina.extraction.extractor import Extractor
from lamina.extraction.loading import load
from lamina.spec import Spec
from lamina.text.source import rows_of

HERE = Path(__file__).parent
DATA = Path(os.environ.get("LAMINA_DATA", HERE / "../../shared/data"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--texts", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--file", type=Path, default=DATA / "throughput" / "english_20k.jsonl")
    arguments = parser.parse_args()
    with arguments.file.open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"][:400] for line in islice(file, arguments.texts)]
    app = json.loads((arguments.folder / FILE).read_text())["app"]
    trained = read_classifier(arguments.folder) if app == "classify" else read_tagger(arguments.folder)
    assert trained.place.encoder is not None
    model = load(trained.place.encoder.model)
    ways = {"extraction": extracted, app: classified if app == "classify" else tagged}
    for way in ways.values():
        way(model, trained, texts[:200])  # graphs are compiled
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, way in ways.items():
            started, busy = time.perf_counter(), time.process_time()
            way(model, trained, texts)
            seconds[name].append(time.perf_counter() - started)
            processor[name].append(time.process_time() - busy)
    rates = {name: len(texts) / statistics.median(times) for name, times in seconds.items()}
    share, busy_share = (
        statistics.median(a / b for a, b in zip(*times.values(), strict=True)) for times in (seconds, processor)
    )
    said = ", ".join(f"{name} {rate:,.0f} texts/s" for name, rate in rates.items())
    print(f"{trained}: {said}; {share:.1%} of its speed by the clock, {busy_share:.1%} by processor time")
    print(json.dumps({"rates": rates, "share": share, "processor_share": busy_share, "seconds": seconds}))


def parts(model: Extractor, spec: Spec, texts: list[str]) -> Iterator[Embeddings]:
    for part in model.stream_rows(rows_of(texts), {"": spec}):
        yield part[""]


def extracted(model: Extractor, trained: object, texts: list[str]) -> None:
    for _ in parts(model, trained.place.spec, texts):
        pass


def classified(model: Extractor, trained: object, texts: list[str]) -> None:
    with Path(os.devnull).open("w") as nowhere:
        writer = WRITERS["jsonl"](nowhere, every=False)
        for part in parts(model, trained.place.spec, texts):
            writer.write(trained.predict(part), is_whole=True)


def tagged(model: Extractor, trained: object, texts: list[str]) -> None:
    with Path(os.devnull).open("w") as nowhere:
        for part in whole_texts(model.stream_rows(rows_of(texts), _views(trained.place.spec))):
            tagging = trained.predict(part["words"])
            for text, words in _by_text(tagging, part["texts"]):
                nowhere.write(_as_json(text, words, tagging))


if __name__ == "__main__":
    main()
