"""What the pages of dead letters show of bytes."""
