"""How policies for Atari games evolve: evolution strategies (Salimans et al. 2017) and the deep genetic algorithm (Such et al. 2017)."""
