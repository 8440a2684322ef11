"""What the page of the configuration says: as applied, policy in words, receivers."""
