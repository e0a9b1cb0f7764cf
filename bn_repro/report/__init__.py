"""What the records say, for people: one pure function of records."""
