"""One pass: the texts of some inputs through the model once, each table's rows to where it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from lamina.dataset.idf_file import read_idf
from lamina.dataset.manifest import Manifest
from lamina.embeddings import Embeddings
from lamina.errors import TextError
from lamina.extraction.extractor import Done, Extractor
from lamina.extraction.idf import Idf, fit_idf
from lamina.jobs.behind import Behind
from lamina.jobs.inputs import Given, rows_in
from lamina.jobs.target import Target
from lamina.spec import Spec
from lamina.text.source import Rows, Source
from lamina.text.text import OnError, as_text

Listener = Callable[[Done], None]


def write_all(
    inputs: Sequence[tuple[Given, Iterator[Rows]]],
    targets: Mapping[str, Target],
    extractor: Extractor,
    *,
    idf: Idf | None,
    batch_tokens: int | None,
    on_batch: Listener | None,
    on_error: OnError = "stop",
) -> None:
    """Write what each target lacks of the inputs, which come in order with their rows."""
    if idf is not None:
        for target in targets.values():
            if target.spec.pool == "idf":
                target.writer.keep_idf(idf.n_texts, idf.counts)
    ends = [one.described.first_text for one, _ in inputs[1:]]
    for (one, rows), end in zip(inputs, [*ends, None], strict=True):
        places = {name: target.writer.place for name, target in targets.items()}
        first = min(place.text for place in places.values())
        if end is not None and first >= end:
            continue  # all there
        parts = extractor.stream_rows(
            after(rows, first - one.described.first_text, on_batch),
            {name: target.spec for name, target in targets.items()},
            batch_tokens=batch_tokens,
            idf=idf,
            on_batch=on_batch,
            even_if_empty=first == 0,
            first_row=first,
            starts=places,
            stored=True,
            on_error=on_error,
        )

        def write(part: Mapping[str, Embeddings]) -> None:
            for name, embeddings in part.items():
                targets[name].add(embeddings)

        try:
            with closing(parts), Behind(write) as written:
                for part in parts:
                    written.put(part)
        except TextError as error:
            raise error.in_file(one.texts.name) if isinstance(one.texts, Source) else error from None
        for target in targets.values():
            target.writer.end_input()
        one.check_unchanged()


def after(rows: Iterable[Rows], n_texts: int, on_batch: Listener | None = None) -> Iterator[Rows]:
    """The rows after the first `n_texts` texts; `on_batch` hears of those that are passed over as done."""
    for group in rows:
        n_passed = min(n_texts, len(group.texts))
        if n_passed and on_batch is not None:
            on_batch(Done(0, 0.0, sum(len(as_text(text).text) for text in group.texts[:n_passed])))
        if n_passed < len(group.texts):
            yield Rows(group.texts[n_passed:], group.columns.slice(n_passed)) if n_passed else group
        n_texts -= n_passed


def idf_for(
    given: Given,
    specs: Iterable[Spec],
    extractor: Extractor,
    held: Mapping[Path, Manifest | None],
    *,
    on_error: OnError = "stop",
) -> Idf | None:
    """How rare tokens are, where a Spec needs to know: as a dataset of the same texts keeps it, or counted."""
    if not any(spec.pool == "idf" for spec in specs):
        return None
    for folder, manifest in held.items():
        if manifest is not None and (kept := read_idf(folder, manifest)) is not None:
            return Idf(*kept)
    return fit_idf(rows_in(given.texts, on_error=on_error), extractor.tokenizer, on_error=on_error)
