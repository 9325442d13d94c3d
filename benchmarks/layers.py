"""Which layer is best for what? Linear probes on the frozen layers of a model, on public data, and a picture.

    python benchmarks/layers.py [--model minilm] [--data FOLDER] [--out docs/layers] [--redraw]

For each task and each layer: word vectors (parts of speech) or mean-pooled text vectors (the others), standardised, and
a logistic regression trained on the training part and scored once on the test part. Retrieval needs no training:
it asks for the paragraph that answers a question, by cosine. Baselines: the most frequent tag of each word (words
not seen in training: the most frequent tag), and the most frequent class. Prints a table and one JSON line; writes
OUT.svg and benchmarks/results/layers.json.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import lamina

HERE = Path(__file__).parent
N_TRAIN = 20_000  # words or texts, at most, that a probe is trained on


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LAMINA_DATA", HERE / "../../shared/data")))
    parser.add_argument("--out", type=Path, default=HERE / "../docs/layers")
    parser.add_argument("--redraw", action="store_true", help="only draw the results that are stored")
    arguments = parser.parse_args()
    if arguments.redraw:
        draw(json.loads((HERE / "results" / "layers.json").read_text())["tasks"], arguments.out.with_suffix(".svg"))
        return
    model = lamina.load(arguments.model)
    tasks = {
        "parts of speech": parts_of_speech(model, arguments.data / "ud_english_ewt"),
        "sentiment": texts(model, arguments.data / "sentences", "stsa.binary.train", "stsa.binary.test"),
        "question type": texts(model, arguments.data / "sentences", "TREC.train.all", "TREC.test.all"),
        "retrieval": retrieval(model, arguments.data / "xquad" / "xquad.en.json"),
    }
    report(tasks)
    results = {"model": arguments.model, "tasks": tasks}
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "layers.json").write_text(json.dumps(results, indent=1) + "\n")
    draw(tasks, arguments.out.with_suffix(".svg"))
    print(json.dumps(results))


def parts_of_speech(model: lamina.Extractor, folder: Path) -> dict[str, object]:
    """Universal tags of the words of UD English EWT: trained on its dev part, scored on its test part."""
    vectors, tags, words = {}, {}, {}
    for part in ("dev", "test"):
        sentences = conllu(folder / f"en_ewt-ud-{part}.conllu")
        given = [lamina.Text.of_words([word for word, _ in sentence]) for sentence in sentences]
        vectors[part] = model.extract(given, unit="word", layers="all")
        tags[part] = np.array([tag for sentence in sentences for _, tag in sentence])
        words[part] = [word for sentence in sentences for word, _ in sentence]
    return {
        "scores": [
            probe(vectors["dev"].layer(k), tags["dev"], vectors["test"].layer(k), tags["test"])
            for k in vectors["dev"].layers
        ],
        "baseline": most_frequent_tag(words["dev"], tags["dev"], words["test"], tags["test"]),
        "baseline_is": "the most frequent tag of each word",
        "n_train": len(tags["dev"]),
        "n_test": len(tags["test"]),
    }


def texts(model: lamina.Extractor, folder: Path, train: str, test: str) -> dict[str, object]:
    """A label for each text: a line holds it, then the text."""
    parts = {name: [line.split(" ", 1) for line in lines(folder / name)] for name in (train, test)}
    labels = {name: np.array([label for label, _ in part]) for name, part in parts.items()}
    vectors = {name: model.extract([text for _, text in part]) for name, part in parts.items()}
    most = Counter(labels[train].tolist()).most_common(1)[0][0]
    return {
        "scores": [
            probe(vectors[train].layer(k), labels[train], vectors[test].layer(k), labels[test])
            for k in vectors[train].layers
        ],
        "baseline": float(np.mean(labels[test] == most)),
        "baseline_is": "the most frequent class",
        "n_train": len(labels[train]),
        "n_test": len(labels[test]),
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


def probe(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> float:
    """Accuracy of a logistic regression on standardised vectors."""
    some = np.random.default_rng(0).permutation(len(train))[:N_TRAIN]
    scale = StandardScaler().fit(train[some])
    fitted = LogisticRegression(C=0.1, max_iter=200).fit(scale.transform(train[some]), train_labels[some])
    return float(fitted.score(scale.transform(test), test_labels))


def most_frequent_tag(words: list[str], tags: np.ndarray, test_words: list[str], test_tags: np.ndarray) -> float:
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for word, tag in zip(words, tags.tolist(), strict=True):
        seen[word.lower()][tag] += 1
    most = Counter(tags.tolist()).most_common(1)[0][0]
    guesses = [seen[word.lower()].most_common(1)[0][0] if word.lower() in seen else most for word in test_words]
    return float(np.mean(np.array(guesses) == test_tags))


def conllu(path: Path) -> list[list[tuple[str, str]]]:
    """The words and universal tags of each sentence."""
    sentences = []
    for block in path.read_text().strip().split("\n\n"):
        rows = [line.split("\t") for line in block.split("\n") if re.match(r"\d+\t", line)]
        sentences.append([(row[1], row[3]) for row in rows])
    return sentences


def lines(path: Path) -> list[str]:
    return [line for line in path.read_bytes().decode("utf-8", errors="replace").split("\n") if line.strip()]


def report(tasks: dict[str, dict[str, object]]) -> None:
    n_layers = len(next(iter(tasks.values()))["scores"])
    print(f"{'':<18}" + "".join(f"{k:>8}" for k in range(n_layers)) + "   best   baseline")
    for name, task in tasks.items():
        scores = task["scores"]
        row = "".join(f"{100 * score:8.1f}" for score in scores)
        print(f"{name:<18}{row}   {int(np.argmax(scores)):>4}   {100 * task['baseline']:.1f} ({task['baseline_is']})")


def draw(tasks: dict[str, dict[str, object]], path: Path) -> None:
    """A panel a task: accuracy by layer, the best layer and the last one labelled."""
    import altair as alt

    panels = []
    for (name, task), colour in zip(tasks.items(), ("#4c78a8", "#f58518", "#e45756", "#54a24b"), strict=False):
        scores = task["scores"]
        best, last = int(np.argmax(scores)), len(scores) - 1
        rows = [
            {"layer": k, "accuracy": score, "label": k in (best, last), "best": k == best}
            for k, score in enumerate(scores)
        ]
        room = 0.18 * (max(scores) - min(scores))
        base = alt.Chart(alt.Data(values=rows)).encode(
            x=alt.X("layer:O", title="layer", axis=alt.Axis(labelAngle=0)),
            y=alt.Y(
                "accuracy:Q",
                title="accuracy" if not panels else None,
                scale=alt.Scale(domain=[min(scores) - room, max(scores) + room]),
                axis=alt.Axis(format=".0%", tickCount=5),
            ),
        )
        labelled = base.transform_filter("datum.label").encode(text=alt.Text("accuracy:Q", format=".1%"))
        panel = (
            base.mark_line(color=colour, strokeWidth=2)
            + base.mark_point(color=colour, filled=True, size=25, opacity=1)
            + base.transform_filter("datum.best").mark_point(color=colour, filled=True, size=140, opacity=1)
            + labelled.transform_filter("datum.best").mark_text(dy=-13, fontWeight="bold")
            + labelled.transform_filter("!datum.best").mark_text(dy=14)
        )
        panels.append(panel.properties(width=165, height=150, title=f"{name}: layer {best}"))
    chart = alt.hconcat(*panels, spacing=14).configure_view(stroke=None).configure_axis(gridColor="#eee")
    chart.configure(background="white").save(str(path))


if __name__ == "__main__":
    main()
