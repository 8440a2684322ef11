"""The real tools as processes on loopback, each from an environment of its own."""
