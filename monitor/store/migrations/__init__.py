"""Migrations of the database, run by `monitor.store.schema.upgrade`; one file a revision under ``versions/``."""
