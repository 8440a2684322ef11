"""Judging windows of events: what is due, with which budget, what follows."""
