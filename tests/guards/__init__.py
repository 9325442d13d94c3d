"""Common mistakes, each of which must be impossible, an error, or explained."""
