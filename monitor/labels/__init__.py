"""The join of labels with predictions."""
