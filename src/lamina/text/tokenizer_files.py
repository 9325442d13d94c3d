"""Tokenizers from files: which files make one, the best first, and what it puts around texts.

Nothing here runs on texts: see `lamina.text.tokenizer`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lamina.errors import CheckpointError, LaminaError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

R = TypeVar("R")

TOKENIZER_JSON, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
MAX_BYTES = 128_000_000  # the largest tokenizer.json of an encoder seen has 17 MB
VOCAB, VOCAB_JSON, MERGES = "vocab.txt", "vocab.json", "merges.txt"


@dataclass(frozen=True, slots=True)
class Template:
    """How many special tokens stand before a text, between the two of a pair, and after them."""

    prefix: int
    middle: int
    suffix: int


def read_tokenizer(folder: Path) -> tuple[Backend, Template, Path]:
    """The tokenizer of a model folder, from the first of the file layouts in `LAYOUTS` that is there; the file too.

    It neither cuts nor pads. Raises CheckpointError where there is none, or a file cannot be read.
    """
    for files, build in LAYOUTS.items():
        if all((folder / name).is_file() for name in files):
            source = folder / files[0]
            _check_sizes(folder, (*files, TOKENIZER_CONFIG))
            try:
                backend = guarded(lambda: build(folder))  # noqa: B023 - called at once
                backend.no_truncation()
                backend.no_padding()
                return backend, guarded(lambda: _template(backend)), source  # noqa: B023
            except TokenizerError as error:
                raise CheckpointError(f"{source} cannot be read as a tokenizer: {error}") from None
    expected = ", or ".join(" and ".join(files) for files in LAYOUTS)
    raise CheckpointError(f"{folder} has no tokenizer: expected {expected}")


def parse_tokenizer(json_text: str, source: str) -> tuple[Backend, Template]:
    """The tokenizer of a tokenizer.json's text, which neither cuts nor pads. Raises CheckpointError."""
    from tokenizers import Tokenizer as Backend

    try:
        backend = guarded(lambda: Backend.from_str(json_text))
        backend.no_truncation()
        backend.no_padding()
        return backend, guarded(lambda: _template(backend))
    except TokenizerError as error:
        raise CheckpointError(f"{source} cannot be read as a tokenizer: {error}") from None


def n_ids_of(backend: Backend) -> int:
    """One more than the largest token id that a tokenizer can give."""
    return 1 + max(backend.get_vocab(with_added_tokens=True).values(), default=-1)


def _check_sizes(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        path = folder / name
        if path.is_file() and path.stat().st_size > MAX_BYTES:
            raise CheckpointError(f"{path} has {path.stat().st_size:,} bytes; such a file has at most {MAX_BYTES:,}")


def _complete(folder: Path) -> Backend:
    from tokenizers import Tokenizer as Backend

    return Backend.from_file(str(folder / TOKENIZER_JSON))


def _byte_level(folder: Path) -> Backend:
    """RoBERTa's tokenizer: byte pairs, no bytes unknown, and a space belongs to the word after it."""
    from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors
    from tokenizers import Tokenizer as Backend

    config = _tokenizer_config(folder / TOKENIZER_CONFIG)
    backend = Backend(models.BPE.from_file(str(folder / VOCAB_JSON), str(folder / MERGES)))
    names = {"cls": "<s>", "sep": "</s>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>"}
    tokens = {name: _token(config, f"{name}_token", default) for name, default in names.items()}
    ids = {name: backend.token_to_id(token) for name, token in tokens.items()}
    lacking = [tokens[name] for name in ("cls", "sep") if ids[name] is None]
    if lacking:
        raise CheckpointError(f"{folder / VOCAB_JSON} has no {', '.join(lacking)}, which RoBERTa's tokenizer needs")
    spaced = bool(config.get("add_prefix_space", False))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
    backend.decoder = decoders.ByteLevel()
    sep, cls = ((tokens[name], backend.token_to_id(tokens[name]) or 0) for name in ("sep", "cls"))
    backend.post_processor = processors.RobertaProcessing(sep, cls, trim_offsets=True, add_prefix_space=spaced)
    backend.add_special_tokens(
        [
            AddedToken(token, lstrip=_is_stripped(config, f"{name}_token"), special=True)
            for name, token in tokens.items()
            if ids[name] is not None
        ]
    )
    return backend


def _wordpiece(folder: Path) -> Backend:
    """BERT's tokenizer from its vocabulary, a token a line, its id the line's number."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, normalizers, pre_tokenizers, processors

    config = _tokenizer_config(folder / TOKENIZER_CONFIG)
    path = folder / VOCAB
    lines = path.read_bytes().decode("utf-8").split("\n")
    vocab = {line.rstrip("\r"): number for number, line in enumerate(lines[:-1] if lines[-1] == "" else lines)}
    unk, cls, sep = (_token(config, f"{name}_token", f"[{name.upper()}]") for name in ("unk", "cls", "sep"))
    lacking = [token for token in (unk, cls, sep) if token not in vocab]
    if lacking:
        raise CheckpointError(
            f"{path} has {len(vocab):,} tokens but no {', '.join(lacking)}, which BERT's tokenizer needs"
        )
    backend = Backend(models.WordPiece(vocab, unk_token=unk, max_input_chars_per_word=100))
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(config.get("tokenize_chinese_chars", True)),
        strip_accents=config.get("strip_accents"),  # None: as lower-casing does
        lowercase=bool(config.get("do_lower_case", True)),
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(cls, vocab[cls]), (sep, vocab[sep])],
    )
    others = (_token(config, f"{name}_token", f"[{name.upper()}]") for name in ("pad", "mask"))
    backend.add_special_tokens([token for token in (unk, cls, sep, *others) if token in vocab])
    return backend


def _tokenizer_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no JSON: {error}") from None
    if not isinstance(found, dict) or found.get("strip_accents") not in (None, True, False):
        raise CheckpointError(f"{path} is no tokenizer configuration")
    return found


def _token(config: dict[str, Any], key: str, default: str) -> str:
    """A special token's text; old configurations hold it as an object with `content`."""
    value = config.get(key, default)
    value = value.get("content", default) if isinstance(value, dict) else value
    return value if isinstance(value, str) else default


def _is_stripped(config: dict[str, Any], key: str) -> bool:
    """Whether a special token takes the space before it, as RoBERTa's mask may."""
    value = config.get(key)
    return isinstance(value, dict) and bool(value.get("lstrip", False))


def _template(backend: Backend) -> Template:
    """What the tokenizer puts around texts: seen on examples, since not every template can be read."""
    strange = {max(backend.encode("a").ids, default=0), max(backend.encode("a", "a").ids, default=0)}
    if max(strange) >= n_ids_of(backend):
        raise CheckpointError(f"the tokenizer puts token {max(strange):,} around texts, which its vocabulary lacks")
    for probe in ("a", "0", ".", "的"):
        one = backend.encode(probe).special_tokens_mask
        two = backend.encode(probe, probe).special_tokens_mask
        if 0 in one:
            prefix, suffix = one.index(0), one[::-1].index(0)
            return Template(prefix, sum(two) - prefix - suffix, suffix)
    n_one, n_two = len(backend.encode("")), len(backend.encode("", ""))
    return Template(min(1, n_one), max(0, n_two - n_one), max(0, n_one - 1))


# Which files make a tokenizer, the best first, and how.
LAYOUTS: dict[tuple[str, ...], Callable[[Path], Backend]] = {
    (TOKENIZER_JSON,): _complete,
    (VOCAB,): _wordpiece,
    (VOCAB_JSON, MERGES): _byte_level,
}


class TokenizerError(Exception):
    """What the tokenizer raised, whatever its kind."""


def guarded(call: Callable[[], R]) -> R:
    """Run a call into the tokenizer's native code. Its panics are no `Exception`: they are caught by name."""
    try:
        return call()
    except LaminaError:
        raise
    except Exception as error:  # noqa: BLE001 - the bindings raise every kind
        raise TokenizerError(str(error)) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise TokenizerError(f"the tokenizer gave up ({error})") from None
