"""How the W&B project looks, as code."""
