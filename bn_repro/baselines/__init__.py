"""What simple methods reach on the same texts."""
