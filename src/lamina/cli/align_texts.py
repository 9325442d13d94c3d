"""What both ways of aligning read: the lines of a file, and the embeddings of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamina.embeddings import Embeddings
    from lamina.extraction.extractor import Extractor
    from lamina.spec import Spec
    from lamina.text.text import Text


def lines(path: str) -> list[str]:
    """The lines of a text file. Raises SourceError."""
    from lamina.text.source import Source
    from lamina.text.text import as_text

    return [as_text(text).text for rows in Source(path, "txt").rows() for text in rows.texts]


def extracted(extractor: Extractor, texts: Sequence[str | Text], spec: Spec, seen: Any = None) -> Embeddings:
    """The embeddings of texts, counted for progress."""
    from lamina.embeddings import concatenate
    from lamina.text.source import rows_of

    parts = list(extractor.stream_rows(rows_of(texts), {"": spec}, on_batch=seen, even_if_empty=True))
    return concatenate(part[""] for part in parts)
