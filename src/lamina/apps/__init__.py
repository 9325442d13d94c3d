"""What embeddings are for: each app is a public function on `Embeddings` or a `Dataset`, at any layer or mix of layers.

Apps see units, vectors and labels; they never run a model. Who has texts extracts first (`lamina.cli.compose` does it
for the command line).
"""
