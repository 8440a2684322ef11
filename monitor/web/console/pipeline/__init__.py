"""How the service itself is doing, for its page."""
