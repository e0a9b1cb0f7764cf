"""How a network is trained, whatever watches it."""
