"""Which layer is best for what? `lamina.apps.probe.run` on public data, a table, and a picture.

    python benchmarks/layers.py [--model minilm] [--data FOLDER] [--tasks TREC ...] [--out docs/layers] [--redraw]

For each task: every layer and mix (mean-pooled), fitted on the training part and scored on the test part; and what the
probe chooses by cross-validation on the training part alone, scored on the test part once: how much is lost by not
having looked? Retrieval needs no training: it asks for the paragraph that answers a question, by cosine. Baselines: the
commonest class; of words, the commonest tag of each. Prints a table and one JSON line; writes OUT.svg and
benchmarks/results/layers.json, in which with --tasks the other tasks stay as they are.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import lamina
from lamina.apps.charts import by_layer, save
from lamina.apps.probe.asking import ask
from lamina.apps.probe.chart import short_name
from lamina.apps.probe.run import answer
from lamina.text.source import Source
from lamina.text.text import as_text

HERE = Path(__file__).parent
DRAWN = {"parts of speech": "UD", "sentiment": "SST-2", "question type": "TREC", "retrieval": "XQuAD"}
Labelled = list[tuple[str, str | lamina.Text]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LAMINA_DATA", HERE / "../../shared/data")))
    parser.add_argument("--tasks", nargs="*", help="only these")
    parser.add_argument("--out", type=Path, default=HERE / "../docs/layers")
    parser.add_argument("--redraw", action="store_true", help="only draw the results that are stored")
    arguments = parser.parse_args()
    stored = HERE / "results" / "layers.json"
    if arguments.redraw:
        draw(json.loads(stored.read_text())["tasks"], arguments.out.with_suffix(".svg"))
        return
    model = lamina.load(arguments.model)
    sentences, banking = arguments.data / "sentences", arguments.data / "banking77"
    made = {
        "UD": lambda: words(model, arguments.data / "ud_english_ewt"),
        "SST-2": lambda: texts(model, lines(sentences / "stsa.binary.train"), lines(sentences / "stsa.binary.test")),
        "TREC": lambda: texts(model, lines(sentences / "TREC.train.all"), lines(sentences / "TREC.test.all")),
        "SUBJ": lambda: texts(model, *tenth_held_out(lines(sentences / "subj.all"))),
        "MR": lambda: texts(model, *tenth_held_out(lines(sentences / "rt-polarity.all"))),
        "Banking77": lambda: texts(model, *(rows(banking / f"{part}.csv") for part in ("train", "test"))),
        "XQuAD": lambda: retrieval(model, arguments.data / "xquad" / "xquad.en.json"),
    }  # fmt: skip
    tasks = json.loads(stored.read_text())["tasks"] if arguments.tasks else {}
    for name in arguments.tasks or made:
        tasks[name] = made[name]()
        report(name, tasks[name])
    results = {"model": arguments.model, "tasks": tasks}
    stored.write_text(json.dumps(results, indent=1) + "\n")
    draw(tasks, arguments.out.with_suffix(".svg"))
    print(json.dumps(results))


def words(model: lamina.Extractor, folder: Path) -> dict[str, object]:
    """Universal tags of the words of UD English EWT: fitted on its dev part, scored on its test part."""
    tags: list[str] = []
    parts: list[str] = []
    given: list[lamina.Text] = []
    for part, kind in (("dev", "train"), ("test", "test")):
        for group in Source(str(folder / f"en_ewt-ud-{part}.conllu")).rows():
            given += [as_text(text) for text in group.texts]
            of_words = [tag for of_text in group.columns["tags"].to_pylist() for tag in json.loads(of_text)]
            tags += of_words
            parts += [kind] * len(of_words)
    return probed(model.extract(given, unit="word"), tags, parts)


def texts(model: lamina.Extractor, train: Labelled, test: Labelled) -> dict[str, object]:
    labels, given = zip(*train, *test, strict=True)
    parts = ["train"] * len(train) + ["test"] * len(test)
    return probed(model.extract(given), list(labels), parts)


def probed(emb: lamina.Embeddings, labels: Sequence[str], parts: Sequence[str]) -> dict[str, object]:
    """Every row's score on the test part, and the score there of what cross-validation on the training part chooses."""
    everything, quick = len(labels), {"control": False, "curve": False}
    as_dev = ["dev" if part == "test" else part for part in parts]
    looked = answer(ask({"mean": emb}, labels, split=as_dev, sample=everything), **quick)
    chosen = answer(ask({"mean": emb}, labels, split=parts, sample=everything), **quick)
    scores = {short_name(row): row.score for row in looked.rows}
    name = "majority" if looked.unit == "text" else "commonest label of each word"
    return {
        "scores": [row.score for row in looked.rows if row.combine == "none"],
        "mixes": {short_name(row): row.score for row in looked.rows if row.combine != "none"},
        "chosen": {"row": short_name(chosen.best), "cross_validated": chosen.best.score, "test": chosen.test.score},
        "best_minus_chosen": max(scores.values()) - chosen.test.score,
        "baseline": looked.baselines[name],
        "baseline_is": name,
        "baselines": dict(looked.baselines),
        "n_train": chosen.n,
        "n_test": chosen.test.n,
    }


def retrieval(model: lamina.Extractor, path: Path) -> dict[str, object]:
    """How often the paragraph nearest to a question is the one that answers it."""
    paragraphs, questions, answers = [], [], []
    for article in json.loads(path.read_text())["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                questions.append(question["question"])
                answers.append(len(paragraphs))
            paragraphs.append(paragraph["context"])
    asked, held = model.extract(questions, normalize=True), model.extract(paragraphs, normalize=True)
    scores = [
        float(np.mean((asked.layer(k) @ held.layer(k).T).argmax(axis=1) == np.array(answers))) for k in asked.layers
    ]
    return {
        "scores": scores,
        "baseline": 1 / len(paragraphs),
        "baseline_is": "chance",
        "n_train": 0,
        "n_test": len(questions),
    }


def lines(path: Path) -> Labelled:
    """A line holds a label, then the text."""
    found = path.read_bytes().decode("utf-8", errors="replace").split("\n")
    return [(label, text) for label, text in (line.split(" ", 1) for line in found if line.strip())]


def rows(path: Path) -> Labelled:
    with path.open(newline="", encoding="utf-8") as file:
        return [(row["category"], row["text"]) for row in csv.DictReader(file)]


def tenth_held_out(found: Labelled) -> tuple[Labelled, Labelled]:
    """Every tenth line is the test part."""
    return [row for k, row in enumerate(found) if k % 10], found[::10]


def report(name: str, task: dict[str, object]) -> None:
    shown = [f"{100 * score:.1f}" for score in task["scores"]]
    shown += [f"{mix} {100 * score:.1f}" for mix, score in task.get("mixes", {}).items()]
    print(f"{name:<10}", " ".join(shown), f"({task['baseline_is']} {100 * task['baseline']:.1f})")
    if "chosen" in task:
        row, test = task["chosen"]["row"], 100 * task["chosen"]["test"]
        print(f"{'':<10} chosen on the training part: {row}, {test:.1f} on the test part, "
              f"{100 * task['best_minus_chosen']:.1f} below the best there", flush=True)  # fmt: skip


def draw(tasks: dict[str, dict[str, object]], path: Path) -> None:
    """A panel a task: accuracy by layer, the best one marked."""
    import altair as alt

    panels = []
    for name, key in DRAWN.items():
        if key not in tasks:
            continue
        scores = tasks[key]["scores"]
        rows = [{"layer": layer, "accuracy": score} for layer, score in enumerate(scores)]
        title = f"{name}: layer {int(np.argmax(scores))}"
        panels.append(by_layer(rows, score="accuracy", title=title, percent=True, width=160, height=150))
    save(alt.hconcat(*panels, spacing=16), path)


if __name__ == "__main__":
    main()
