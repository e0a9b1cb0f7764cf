"""Real data, verified, in memory."""
