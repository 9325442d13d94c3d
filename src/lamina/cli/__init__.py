"""The command line: one command a verb, each a thin front to the library."""
