"""Numbers read off a record, which several studies share."""
