"""What may be asked for, and what is said of what may not: in one line, with the nearest choice, and without torch."""
