"""What the pages of contracts compute."""
