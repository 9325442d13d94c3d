"""The nearest vectors: exactly, by a graph, from an index beside a dataset."""

from lamina.apps.search.exact import nearest, prepared
from lamina.apps.search.index import Index
from lamina.apps.search.index_files import build_index, find_index

__all__ = ["Index", "build_index", "find_index", "nearest", "prepared"]
