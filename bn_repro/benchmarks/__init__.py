"""What our code costs beside the plainest code that does the same, as interleaved ratios."""
