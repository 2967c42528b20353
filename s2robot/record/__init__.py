"""`s2robot record`: episodes into a demo store."""
