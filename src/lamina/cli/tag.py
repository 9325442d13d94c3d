"""`lamina tag`: a tag for each word: names, parts of speech, any scheme. Train, predict, evaluate."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from lamina.cli.compose import (
    Extraction,
    check_columns,
    extraction_options,
    is_dataset,
    print_json,
    print_table,
    result_options,
)  # fmt: skip
from lamina.cli.options import quiet_option, source_options
from lamina.cli.trained import (
    Run,
    encoder_options,
    facts,
    layer_options,
    leave,
    opened_out,
    readable,
    training_data,
    travelled,
    whole_texts,
)  # fmt: skip

if TYPE_CHECKING:
    from lamina.apps.tag.scores import TagScores
    from lamina.apps.tag.tagger import Tagging
    from lamina.apps.trained import Place
    from lamina.dataset.reader import Dataset
    from lamina.embeddings import Embeddings
    from lamina.spec import Spec


@click.group("tag")
def command() -> None:
    """Tag words: names, parts of speech, any BIO, BIOES or per-word scheme; a linear layer and a CRF over word vectors.

    \b
    lamina tag train train.conll -o tagger/ --layer 4 --pool first
    lamina tag eval tagger/ test.conll
    lamina tag predict tagger/ lines.txt > tagged.jsonl
    """


@command.command("train", short_help="Train a tagger on texts with tags.")
@click.argument("data")
@click.option("-o", "--out", required=True, metavar="FOLDER", help="Where the tagger goes: new or empty.")
@click.option("--label", default="tags", show_default=True, metavar="COLUMN", help="A list of tags for each text.")
@layer_options
@click.option(
    "--scheme", type=click.Choice(["auto", "bio", "bioes", "none"]), default="auto", show_default=True,
    help="How spans are written; auto: as in the tags.",
)  # fmt: skip
@click.option("--l2", type=click.FloatRange(0), help="How strongly weights are held down.  [default: found, see --dev]")
@click.option(
    "--dev", metavar="DATA", help="Choose --l2 on this, which is read as DATA is, rather than on parts of DATA."
)
@extraction_options
@click.option("--overwrite", is_flag=True, help="Replace a tagger that is there already.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def train(
    data: str, out: str, label: str, layer: str | None, winner: str | None, pool: str | None, scheme: Any,
    l2: float | None, dev: str | None, overwrite: bool, as_json: bool, **how: Any,
) -> None:  # fmt: skip
    """Train a tagger on DATA: a CoNLL file, a file with a column of words (--words) and one of tags, or a dataset of
    words.

    \b
    lamina tag train train.conll -o tagger/ --layer 4
    lamina tag train dev.conllu -o tagger/ --winner winner.json
    """
    from lamina.apps.labels import word_labels
    from lamina.apps.spans import misfits
    from lamina.apps.tag.tagger import train_tagger
    from lamina.apps.trained import check_free

    check_free(out, overwrite=overwrite)
    extraction = Extraction(**how)
    for file in (data, dev):
        if file is not None:
            check_columns(extraction.source(file), label)
    with training_data(data, extraction, unit="word", layer=layer, winner=winner, pool=pool) as (dataset, where):
        labels = word_labels(dataset.units, label)
        on_step = None if extraction.quiet else _said_step
        with _judges(dev, extraction, dataset, label) as judges:
            tagger = train_tagger(dataset, labels, layer=where, scheme=scheme, l2=l2, dev=judges, on_step=on_step)
        tagger.save(out, overwrite=overwrite)
    about = {**tagger.about, "scheme": tagger.scheme, "labels": list(tagger.labels), "layer": tagger.place.layer}
    if scheme == "auto" and (odd := misfits(tagger.labels)):
        click.echo(
            f"lamina: {', '.join(map(repr, odd[:3]))}: neither O nor B-TYPE, I-TYPE, ...; so tags are learnt as they "
            "are, without spans (--scheme bio reads spans, and such tags as O)", err=True,
        )  # fmt: skip
    if as_json:
        print_json({"folder": out, **about})
        return
    if about["tried"]:
        print_table(["l2", "score"], [[one["l2"], one["score"]] for one in about["tried"]])
    left_out = f"; {about['n_left_out']:,} texts without a tag for each word left out" if about["n_left_out"] else ""
    click.echo(
        f"{out}: {len(tagger.labels)} tags ({tagger.scheme}), layer {tagger.place.layer}, l2 {about['l2']:g}, "
        f"trained on {about['n_texts']:,} texts, {about['n_words']:,} words{left_out}"
    )


@command.command("predict", short_help="Tag texts.")
@click.argument("tagger")
@click.argument("source", default="-")
@click.option(
    "--to", type=click.Choice(["jsonl", "conll"]), default="jsonl", show_default=True, help="What is written."
)
@click.option("-o", "--out", metavar="FILE", help="Write to a file.  [default: stdout]")
@click.option("--head", is_flag=True, help="TAGGER is a model, whose own token-classification head is used.")
@source_options
@quiet_option
@encoder_options
def predict(tagger: str, source: str, to: str, out: str | None, head: bool, **how: Any) -> None:
    """Tag the texts of SOURCE (a file, or standard input) with TAGGER, a folder that `train` wrote.

    JSONL has a line a text: its words with character offsets, their tags and how likely they are; and the spans. CoNLL
    has a line a word. Words are Unicode's, or those given (--words, --format conll).

    \b
    cat lines.txt | lamina tag predict tagger/ > tagged.jsonl
    lamina tag predict tagger/ lines.txt --to conll
    lamina tag predict --head my-ner-model/ lines.txt

    Exit code 3: some rows could not be read.
    """
    run = Run(**how)
    write, n_unreadable = WRITERS[to], 0
    with opened_out(out) as file:
        for tagging, texts, _ in _taggings(tagger, source, run, head=head):
            for text, words in _by_text(tagging, texts):
                n_unreadable += text["status"] == "error"
                file.write(write(text, words, tagging))
            file.flush()
    leave(n_unreadable)


@command.command("eval", short_help="Score a tagger on texts whose tags are known.")
@click.argument("tagger")
@click.argument("data")
@click.option("--label", default="tags", show_default=True, metavar="COLUMN", help="A list of tags for each text.")
@click.option("--head", is_flag=True, help="TAGGER is a model, whose own token-classification head is used.")
@source_options
@quiet_option
@encoder_options
@result_options
def evaluate(
    tagger: str, data: str, label: str, head: bool, as_json: bool, report: str | None, chart: str | None, **how: Any
) -> None:
    """Score TAGGER on DATA whose tags are known: precision, recall and F1 of whole spans by type (where there are no
    spans, of words by tag), accuracy of words, and what is taken for what.

    \b
    lamina tag eval tagger/ test.conll --report test.html
    """
    from lamina.apps.labels import word_labels
    from lamina.apps.tag.report import scores_chart, scores_report
    from lamina.apps.tag.scores import score_tags

    check_columns(Run(**how).source(data), label)
    tagging, labels, place = _whole(tagger, data, Run(**how), head=head)
    scores = score_tags(tagging, word_labels(tagging.units, label), labels=labels)
    if report:
        scores_report(scores, title=f"{tagger} on {data}", facts=facts(place, data)).save(report)
    if chart:
        from lamina.apps.charts import save

        save(scores_chart(scores), chart)
    rows = [
        {"kind": kind, "n": one.n, "found": one.n_found, "right": one.n_right, "precision": one.precision,
         "recall": one.recall, "f1": one.f1}
        for kind, one in scores.kinds.items()
    ]  # fmt: skip
    if as_json:
        confusions = [
            {"gold": one.gold, "found": one.found, "n": one.n, "examples": list(one.examples)}
            for one in scores.confusions
        ]
        print_json({
            "rows": rows, "f1": scores.f1, "accuracy": scores.accuracy, "n_texts": scores.n_texts,
            "n_words": scores.n_words, "n_left_out": scores.n_left_out, "unseen": scores.unseen,
            "confusions": confusions,
        })  # fmt: skip
        return
    print_table(["kind", "n", "found", "right", "precision", "recall", "F1"], [list(row.values()) for row in rows])
    click.echo(_summary(scores))
    if scores.unseen:
        click.echo("never learnt, so counted as wrong: " + ", ".join(f"{k} ({n:,})" for k, n in scores.unseen.items()))


@contextmanager
def _judges(
    dev: str | None, how: Extraction, dataset: Dataset, label: str
) -> Iterator[tuple[Dataset, list[str | None]] | None]:
    """The words and tags of --dev, extracted as the training data were."""
    from dataclasses import replace

    from lamina.apps.labels import word_labels
    from lamina.apps.trained import place_of

    if dev is None:
        yield None
        return
    made = dataset.manifest.made
    how = replace(how, model=made.model, revision=made.revision, keep=None)
    with how.dataset(dev, dataset.spec) as other:
        place_of(dataset).check(other)
        yield other, word_labels(other.units, label)


def _taggings(
    tagger: str, source: str, run: Run, *, head: bool
) -> Iterator[tuple[Tagging, Embeddings, tuple[str, ...]]]:
    """The tagging of each part of a source, its whole texts, and the tags that could be given."""
    from dataclasses import replace

    from lamina.apps.spans import written
    from lamina.apps.tag.tagger import Tagging, read_tagger
    from lamina.spec import Spec

    if head:
        extractor = replace(run, model=run.model or tagger).load(None)
        own = extractor.head("token_classification")
        spec = Spec(layers="-1", unit="word", pool="first")
        for part in whole_texts(run.parts(source, extractor, _views(spec))):
            logits = own.of_states(readable(part["words"]))
            tagging = Tagging.of_logits(logits.units, logits.values, logits.labels)
            alone = (tag for label in logits.labels for tag in written([label], tagging.scheme))
            yield tagging, part["texts"], (*logits.labels, *alone)
        return
    trained = read_tagger(tagger)
    extractor = run.load(trained.place.encoder)
    for part in whole_texts(run.parts(source, extractor, _views(trained.place.spec))):
        yield trained.predict(readable(part["words"])), part["texts"], trained.labels


def _views(spec: Spec) -> dict[str, Spec]:
    """Words to be tagged, and the texts they stand in: a text without words keeps its place too."""
    from dataclasses import replace

    texts = replace(spec, layers=spec.layers.split(",")[0], combine="none", unit="text", pool="mean")
    return {"words": spec, "texts": texts}


def _by_text(tagging: Tagging, texts: Embeddings) -> Iterator[tuple[dict[str, Any], slice]]:
    """Each text's row, and where its words stand in the tagging."""
    import numpy as np

    ids = tagging.units.column("text_id").to_numpy()
    for text in texts.units.select(["text_id", "surface", "status", "error", *travelled(texts.units)]).to_pylist():
        low, high = np.searchsorted(ids, [text["text_id"], text["text_id"] + 1])
        yield text, slice(int(low), int(high))


def _as_json(text: Mapping[str, Any], words: slice, tagging: Tagging) -> str:
    from lamina.apps.spans import spans_of

    own = tagging.units.slice(words.start, words.stop - words.start)
    columns = (own.column(name).to_pylist() for name in ("surface", "start", "end"))
    tags, likely = tagging.tags[words], tagging.probabilities[words]
    shown = [
        {"word": word, "start": start, "end": end, "tag": tag, "probability": round(float(p), 6)}
        for word, start, end, tag, p in zip(*columns, tags, likely, strict=True)
    ]
    line = {name: value for name, value in text.items() if name != "surface" and (name != "error" or value is not None)}
    line["words"] = shown
    if tagging.scheme != "none":
        line["spans"] = [
            {"type": kind, "start": (low := shown[first]["start"]), "end": (high := shown[last - 1]["end"]),
             "text": text["surface"][low:high]}
            for first, last, kind in spans_of(tags)
        ]  # fmt: skip
    return json.dumps(line, ensure_ascii=False, default=str) + "\n"


def _as_conll(text: Mapping[str, Any], words: slice, tagging: Tagging) -> str:  # noqa: ARG001 - as `_as_json`
    """A line a word, and a blank one: also of a text without words, so that texts can be counted."""
    surfaces = tagging.units.column("surface").slice(words.start, words.stop - words.start).to_pylist()
    lines = (
        f"{' '.join(word.split()) or '_'}\t{tag}\n" for word, tag in zip(surfaces, tagging.tags[words], strict=True)
    )
    return "".join(lines) + "\n"


WRITERS = {"jsonl": _as_json, "conll": _as_conll}


def _whole(tagger: str, data: str, run: Run, *, head: bool) -> tuple[Tagging, tuple[str, ...], Place]:
    """The tagging of all of DATA, the tags that could be given, and where they come from."""
    import numpy as np
    import pyarrow as pa

    from lamina.apps.tag.tagger import Tagging, read_tagger
    from lamina.apps.trained import Place
    from lamina.errors import SpecError
    from lamina.spec import Spec

    if is_dataset(data):
        if head:
            raise SpecError("--head computes on texts: give the file of texts, not a dataset")
        from lamina.dataset.reader import open_dataset

        dataset, trained = open_dataset(data), read_tagger(tagger)
        trained.place.check(dataset)
        return trained.predict(dataset), trained.labels, trained.place
    found = [(tagging, labels) for tagging, _, labels in _taggings(tagger, data, run, head=head)]
    if not found:
        raise SpecError(f"{data} holds no text")
    parts, labels = [tagging for tagging, _ in found], found[0][1]
    units = pa.concat_tables([part.units for part in parts], promote_options="permissive")
    tags = tuple(tag for part in parts for tag in part.tags)
    likely = np.concatenate([part.probabilities for part in parts])
    tagging = Tagging(units, tags, likely, parts[0].scheme)
    place = Place(None, Spec(layers="-1", unit="word", pool="first"), "-1") if head else read_tagger(tagger).place
    return tagging, labels, place


def _summary(scores: TagScores) -> str:
    """The result in a sentence."""
    spans = "" if scores.f1 is None else f"F1 of spans {scores.f1:.4f}, "
    left_out = f"; {scores.n_left_out:,} texts without a tag for each word left out" if scores.n_left_out else ""
    counts = f"over {scores.n_texts:,} texts, {scores.n_words:,} words"
    return f"{spans}accuracy of words {scores.accuracy:.4f}, {counts}{left_out}"


def _said_step(what: str, step: int, loss: float) -> None:
    """Where training stands, on stderr, while somebody looks."""
    import sys

    if sys.stderr.isatty():
        click.echo(f"\r{what}: step {step}, loss {loss:.4f}   ", err=True, nl=False)
