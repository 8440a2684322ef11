"""Spans of what a process does, sent by OpenTelemetry where the configuration asks for it."""
