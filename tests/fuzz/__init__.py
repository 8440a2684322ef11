"""Hostile bytes for everything that reads what others wrote; see `tests.fuzz.run`."""
