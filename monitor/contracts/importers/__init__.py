"""Contracts of other tools, one file a format; `monitor.contracts.catalog` finds them."""
