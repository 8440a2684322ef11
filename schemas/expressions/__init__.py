"""A small language for rules about several columns: read by a parser of its own, never run as Python."""
