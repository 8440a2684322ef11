"""Limits of the HTTP server: how often, how many, how slowly, and how many guesses."""
