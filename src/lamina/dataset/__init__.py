"""Embeddings on disk: a folder of shards with a manifest."""
