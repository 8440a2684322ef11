"""The fleet: how every model is, what needs attention first."""
