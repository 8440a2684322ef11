"""Formats that a contract can be written in, one file a format; `monitor.contracts.catalog` finds them."""
