"""Dead letters after they were stored: replayed into the slices where they belong, and sent on to a topic."""
