"""Ways to tell someone of an alert: one file each, found by `alerting.notifiers.catalog`."""
