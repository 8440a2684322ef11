"""Requests and responses that came apart: counted once both are there, given up when one does not come."""
