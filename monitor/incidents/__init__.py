"""Incidents in the database: what alerts become for people, what people decide, and what time brings."""
