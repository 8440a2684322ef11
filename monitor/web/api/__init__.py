"""The JSON API: one module for each kind of thing, each with a function that builds its routes."""
