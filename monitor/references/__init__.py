"""References: learned, built, configured, promoted."""
