"""Writes what is stored to Parquet and CSV files, a portion at a time."""
