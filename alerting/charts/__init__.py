"""Charts of an incident, as data and as an image."""
