"""Migrations, run by `monitor.store.schema.upgrade`; one file a revision under ``versions/``."""
