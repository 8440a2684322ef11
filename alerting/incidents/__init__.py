"""An incident: the alerts with one cause, why, and what it costs."""
