"""From the bytes of messages to columns. One file a format; `catalog` finds them."""
