"""A run on disk: the only thing that training and report both know."""
