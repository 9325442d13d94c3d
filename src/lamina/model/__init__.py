"""A pretrained encoder: where it lies, what shape it has, its weights, its forward pass."""
