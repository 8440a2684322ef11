"""What the service shows over HTTP: API, metrics, health and pages."""
