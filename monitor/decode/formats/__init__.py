"""Formats of events, one module each; `monitor.decode.catalog` finds them."""
