"""Jobs: extraction from a file of texts to a dataset."""
