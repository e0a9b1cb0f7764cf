"""A user's own runs side by side: which knobs they differ by, a number and its interval for each setting, curves."""
