"""What the pages of references compute."""
