"""Outcomes of predictions: judged, estimated, compared."""
