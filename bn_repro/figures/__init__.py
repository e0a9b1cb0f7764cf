"""How things are drawn: shared by all studies."""
