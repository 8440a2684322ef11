"""Mails, and the relay that takes them."""
