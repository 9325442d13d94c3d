"""From texts to embeddings: plans, batches, and the extractor that runs them in order."""
