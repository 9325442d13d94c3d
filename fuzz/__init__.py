"""Fuzzing: what anybody may hand to Lamina, changed at random, for as long as one likes. `make fuzz` runs it."""
