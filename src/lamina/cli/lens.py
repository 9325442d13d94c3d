"""`lamina lens`: the masked-language-model head on every layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lamina.cli.compose import (
    Extraction,
    command_line,
    model_facts,
    print_json,
    print_table,
    reading_options,
    result_options,
)
from lamina.cli.given import fitting, given_texts

if TYPE_CHECKING:
    from lamina.apps.lens.guesses import Lens
    from lamina.embeddings import Embeddings
    from lamina.extraction.extractor import Extractor
    from lamina.extraction.head import Head

AT_ONCE = 16  # texts with a masked token each whose states are held at once


@click.command("lens")
@click.argument("texts", metavar="TEXT...|FILE", nargs=-1)
@click.option("--layers", default="all", show_default=True, help="all, encoder, 4, -4..-1, 0,6,12.")
@click.option(
    "--at", type=click.Choice(["all", "mask", "each"]), default="all", show_default=True,
    help="all tokens as they stand; only each [MASK] in the text; or each token masked in turn.",
)  # fmt: skip
@click.option("--expect", metavar="TOKEN", help="What stands at [MASK]: its rank and probability are told.")
@click.option("--k", type=click.IntRange(1), default=5, show_default=True, help="Likeliest tokens of a place.")
@click.option("--show", type=click.IntRange(1), default=5, show_default=True, help="Texts of a file shown in the page.")
@result_options
@reading_options
def command(
    texts: tuple[str, ...],
    layers: str,
    at: str,
    expect: str | None,
    k: int,
    show: int,
    as_json: bool,
    report: str | None,
    chart: str | None,
    **extraction: Any,
) -> None:
    """Ask every layer what each token is, by putting a checkpoint's masked-language-model head on its states.

    It needs a checkpoint that carries such a head, as bert-base-uncased does; minilm carries none. The head was trained
    on the last layer: what it says of the others is a reading (the logit lens), not a result.

    \b
    lamina lens "The river burst its [MASK]." --expect bank --model bert-base-uncased
    lamina lens "The river burst its bank." --at each --model bert-base-uncased --report lens.html
    """
    from lamina.apps.lens.guesses import by_layer

    how = Extraction(**extraction)
    given, from_file = given_texts(texts, how)
    model = how.load()
    head = _head(model)
    used = fitting(given, model) if from_file else given
    lenses = [_lens(model, head, text, layers=layers, at=at, expect=expect, k=k) for text in used]
    lenses = [lens for lens in lenses if lens.units.num_rows]
    rows = by_layer(lenses)
    shown = lenses[:show] if from_file else lenses
    if chart:
        from lamina.apps.charts import save
        from lamina.apps.lens.page import lens_chart

        save(lens_chart(rows), chart)
    if report:
        from lamina.apps.lens.page import lens_page

        facts = {"command": command_line(), **model_facts(model)}
        lens_page(shown, counted=lenses, summary=_summary(at, len(lenses)), facts=facts).save(report)
    if as_json:
        from lamina.apps.lens.guesses import records

        print_json({"at": at, "rows": rows, "texts": [records(lens) for lens in shown]})
        return
    for lens in shown:
        _print(lens)
    print_table(list(rows[0]), [list(row.values()) for row in rows])


def _head(model: Extractor) -> Head:
    """The model's masked-language-model head. Raises CheckpointError with what to do where it has none."""
    from lamina.errors import CheckpointError

    try:
        return model.head("masked_lm")
    except CheckpointError as error:
        why = str(error).split(";")[0]  # one missing tensor says as much as all of them
        raise CheckpointError(
            f"{model.checkpoint.name} carries no masked-language-model head that could be put on its layers: take a "
            f"checkpoint that does, such as --model bert-base-uncased or --model distilroberta-base ({why})"
        ) from None


def _lens(model: Extractor, head: Head, text: Any, *, layers: str, at: str, expect: str | None, k: int) -> Lens:
    """What the layers take one text's tokens for."""
    import numpy as np

    from lamina.apps.lens.guesses import NO_TRUTH, lens_of, look

    states = model.extract([text], layers=layers, unit="token", long="error")
    name, mask = _mask(model)
    ids = states.units.column("token_id").to_numpy()
    truth = np.where(ids == mask, NO_TRUTH if expect is None else _token_id(model, expect), ids).astype(np.int64)
    if at == "each":
        states, truth = _each_masked(model, text, states, truth, name, mask)
    elif at == "mask":
        states, truth = _rows(states, np.flatnonzero(ids == mask)), truth[ids == mask]
    views = {layer: look(head.of_states(_one(states, layer)).values, truth, k=k) for layer in states.layers}
    used = {int(token) for view in views.values() for token in np.unique(view.candidates)}
    return lens_of(states.units, truth, views, names={token: model.tokenizer.piece(token) for token in used})


def _each_masked(
    model: Extractor, text: Any, states: Embeddings, truth: Any, name: str, mask: int
) -> tuple[Embeddings, Any]:
    """The states of each token in a text where it is masked. A token that cannot be masked without changing its
    neighbours (a piece inside a word, sometimes) is left out, and counted on stderr."""
    import numpy as np

    from lamina.embeddings import concatenate
    from lamina.errors import SpecError

    if not isinstance(text, str):
        raise SpecError("--at each masks the tokens of plain texts, not of pairs or ready-made words")
    ids = states.units.column("token_id").to_numpy()
    ordinary = np.flatnonzero(~states.units.column("special").to_numpy(zero_copy_only=False))
    masked = [(int(t), _masked(text, states.units, int(t), name)) for t in ordinary]
    kept = [(t, one) for t, one in masked if _same_but(model, one, ids, t, mask)]
    if len(kept) < len(masked):
        click.echo(f"{len(masked) - len(kept)} of {len(masked)} tokens left out: masking changes the others", err=True)
    if not kept:
        return _rows(states, np.zeros(0, np.int64)), truth[:0]
    words = ",".join(map(str, states.layers))
    parts = []
    for low in range(0, len(kept), AT_ONCE):
        group = kept[low : low + AT_ONCE]
        found = model.extract([one for _, one in group], layers=words, unit="token")
        parts.append(_rows(found, np.array([i * ids.size + t for i, (t, _) in enumerate(group)])))
    rows = np.array([t for t, _ in kept])
    together = concatenate(parts)
    return type(states)(states.units.take(rows), together.columns, states.n_texts), truth[rows]


def _masked(text: str, units: Any, t: int, name: str) -> str:
    start, end = (units.column(side)[t].as_py() for side in ("start", "end"))
    return text[:start] + name + text[end:]


def _same_but(model: Extractor, text: str, ids: Any, t: int, mask: int) -> bool:
    """Whether a text's tokens are `ids`, with a mask at place t."""
    from lamina.text.text import as_text

    found = model.tokenizer.encode([as_text(text)]).ids
    expected = ids.copy()
    expected[t] = mask
    return bool(found.size == expected.size and (found == expected).all())


def _rows(states: Embeddings, rows: Any) -> Embeddings:
    import pyarrow as pa

    columns = {name: matrix[rows] for name, matrix in states.columns.items()}
    return type(states)(states.units.take(pa.array(rows)), columns, states.n_texts)


def _one(states: Embeddings, layer: int) -> Embeddings:
    from lamina.embeddings import layer_column

    return type(states)(states.units, {layer_column(layer): states.layer(layer)}, states.n_texts)


def _mask(model: Extractor) -> tuple[str, int]:
    from lamina.errors import SpecError
    from lamina.extraction.head import MASKS

    for name in MASKS:
        found = model.tokenizer.backend.token_to_id(name)
        if found is not None:
            return name, int(found)
    raise SpecError(f"the tokenizer has no {' or '.join(MASKS)}")


def _token_id(model: Extractor, word: str) -> int:
    """The id of a word that is one token. Raises SpecError for one of several."""
    from lamina.errors import SpecError
    from lamina.text.text import as_text

    units = model.tokenizer.encode([as_text(word)])
    ids = units.ids[~units.special]
    if ids.size != 1:
        pieces = " ".join(model.tokenizer.piece(int(token)) for token in ids)
        raise SpecError(f"--expect {word!r} is {ids.size} tokens ({pieces}), and a [MASK] stands for one")
    return int(ids[0])


def _print(lens: Lens) -> None:
    """A text as a table: a token a line, what each layer takes it for."""
    tokens = lens.units.column("token").to_pylist()
    rows = []
    for t, token in enumerate(tokens):
        first = [
            (lens.names[int(lens.candidates[i, t, 0])], lens.probabilities[i, t, 0]) for i in range(len(lens.layers))
        ]
        rows.append([token, *(f"{name} {chance:.0%}" for name, chance in first)])
    print_table(["token", *map(str, lens.layers)], rows)
    click.echo()


def _summary(at: str, n_texts: int) -> str:
    what = {"all": "every token as it stands", "mask": "each [MASK]", "each": "each token masked in turn"}[at]
    return f"{n_texts:,} {'text' if n_texts == 1 else 'texts'}, {what}."
