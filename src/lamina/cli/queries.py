"""Queries: texts (or words in texts) made into vectors as the dataset's own were, by the same model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from lamina.errors import CheckpointError, DatasetError, SourceError, SpecError

if TYPE_CHECKING:
    from lamina.cli.compose import Extraction
    from lamina.dataset.reader import Dataset
    from lamina.embeddings import Embeddings
    from lamina.extraction.extractor import Extractor
    from lamina.text.text import Text

WHOLE, INSIDE = ("text",), ("word", "token", "span")  # units whose query is a whole text, or stands in one


@dataclass(frozen=True, slots=True)
class Queries:
    """Q texts to search for, with the columns of the file that they came from."""

    texts: tuple[Text, ...]
    columns: dict[str, list[Any]]

    def shown(self, number: int) -> str:
        """A query for people: a word that is meant in it stands in brackets."""
        text = self.texts[number]
        start, end = (text.spans or ((0, len(text.text)),))[0]
        inside = (start, end) != (0, len(text.text))
        return f"{text.text[:start]}[{text.text[start:end]}]{text.text[end:]}" if inside else text.text

    def ids(self, column: str | None) -> list[str]:
        """Each query's id: the column, else `id` where there is one, else its number from 0. Raises SpecError."""
        return ids_of(self.columns, column, len(self.texts))


def ids_of(columns: dict[str, list[Any]], column: str | None, n: int) -> list[str]:
    """Ids of n rows, of a column; None: of `id` where there is one, else the numbers from 0. Raises SpecError."""
    if column is not None and column not in columns:
        raise SpecError(f"there is no column {column!r}; there are {', '.join(columns) or 'none'}")
    found = columns.get(column or "id")
    return list(map(str, range(n))) if found is None else list(map(str, found))


def typed_queries(texts: Iterable[str], *, unit: str, word: str | None) -> Queries:
    """Queries from the command line. Raises SpecError for one that does not say which word is meant."""
    return Queries(tuple(marked(text, unit=unit, word=word) for text in texts), {})


def queries_of_file(path: str, *, column: str | None, unit: str, word: str | None) -> Queries:
    """Queries from a file as `lamina extract` reads them. Raises SourceError, SpecError."""
    from lamina.text.source import Source
    from lamina.text.text import as_text

    texts: list[Text] = []
    columns: dict[str, list[Any]] = {}
    for rows in Source(path, text=column).rows():
        texts += [marked(as_text(item).text, unit=unit, word=word) for item in rows.texts]
        for name in rows.columns.column_names:
            columns.setdefault(name, []).extend(rows.columns.column(name).to_pylist())
    if not texts:
        raise SourceError(f"{path} holds no query")
    return Queries(tuple(texts), columns)


def marked(text: str, *, unit: str, word: str | None = None) -> Text:
    """A query as a Text: whole, or with the span that is meant, which stands in [brackets] or is `word`.

    A query of a single word needs no brackets. Raises SpecError where it is not clear what is meant.
    """
    from lamina.text.text import Text

    if unit in WHOLE:
        return Text(text)
    if unit == "sentence":
        return Text(text, spans=((0, len(text)),))
    if unit not in INSIDE:
        raise SpecError(f"units {unit!r} cannot be searched: use text, sentence, word, token or span")
    return _named(text, word) if word is not None else _bracketed(text)


def made_by(dataset: Dataset, how: Extraction) -> Extractor:
    """The model that made a dataset: the one that its manifest names, or that --model gives, if it is the same.

    Raises CheckpointError where it is not there, DatasetError where it is another one.
    """
    from lamina.jobs.made import check_model

    made = dataset.manifest.made
    given = click.get_current_context().get_parameter_source("model") == ParameterSource.COMMANDLINE
    name = how.model if given else made.model
    try:
        extractor = replace(how, model=name, revision=how.revision or (None if given else made.revision)).load()
    except CheckpointError as error:
        raise CheckpointError(
            f"the model that made {dataset.folder} cannot be loaded; --model says where ({error})"
        ) from None
    check_model(extractor, dataset)
    return extractor


def query_vectors(
    extractor: Extractor, dataset: Dataset, texts: Sequence[Text], *, prompt: str | None = None
) -> Embeddings:
    """A row for each query, at the layers that the dataset holds, pooled and combined as its own rows are.

    Raises SpecError where a query yields no token.
    """
    import numpy as np

    from lamina.dataset.idf_file import read_idf
    from lamina.embeddings import concatenate
    from lamina.extraction.idf import Idf
    from lamina.text.source import rows_of

    spec, manifest = dataset.spec, dataset.manifest
    layers = spec.layers if spec.pool == "model" else ",".join(map(str, manifest.layers))
    unit: Any = "text" if spec.unit in WHOLE else "span"
    spec = replace(spec, layers=layers, unit=unit, prompt=spec.prompt if prompt is None else prompt)
    counted = read_idf(dataset.folder, manifest) if spec.pool == "idf" else None
    if spec.pool == "idf" and counted is None:
        raise DatasetError(f"{dataset.folder} has lost its idf.npy, which queries need: extract it again")
    idf = None if counted is None else Idf(*counted)
    parts = extractor.stream_rows(rows_of(texts), {"": spec}, idf=idf, even_if_empty=True)
    found = concatenate(part[""] for part in parts)
    nothing = np.flatnonzero(np.array(found.units.column("status").to_pylist()) != "ok")
    for row in nothing.tolist():
        if found.units["n_tokens"][row].as_py() == 0:
            raise SpecError(f"query {row} ({texts[row].text[:40]!r}) yields no token: there is nothing to search for")
    return found


def _bracketed(text: str) -> Text:
    from lamina.text.breaks import word_ranges
    from lamina.text.text import Text

    found = re.fullmatch(r"([^\[\]]*)\[([^\[\]]+)\]([^\[\]]*)", text, re.DOTALL)
    if found:
        before, meant, after = found.groups()
        return Text(before + meant + after, spans=((len(before), len(before) + len(meant)),))
    words = word_ranges(text)
    if len(words) == 1:
        return Text(text, spans=tuple(words))
    raise SpecError(
        f"{text!r} does not say which word is meant: put it in brackets, as in 'We sat on the river [bank].', or name "
        "it with --word"
    )


def _named(text: str, word: str) -> Text:
    from lamina.text.text import Text

    places = [found.start() for found in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", text)]
    places = places or [found.start() for found in re.finditer(re.escape(word), text)]  # scripts without spaces
    if len(places) != 1:
        raise SpecError(f"{word!r} stands {len(places)} times in {text!r}: it must be once, or put it in [brackets]")
    return Text(text, spans=((places[0], places[0] + len(word)),))


def layers_of(extractor: Extractor) -> Embeddings:
    """All layers of a model as embeddings of no unit: what `mixes_of` needs to know before anything is extracted."""
    import numpy as np
    import pyarrow as pa

    from lamina.embeddings import Embeddings, layer_column

    layers = range(extractor.architecture.n_layers + 1)
    return Embeddings(
        pa.table({}), {layer_column(number): np.empty((0, 1), np.float32) for number in layers}, n_texts=0
    )
