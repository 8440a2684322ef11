"""Removes what is stored of one model, or of one event, because somebody may ask for that."""
