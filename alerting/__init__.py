"""The life of an alert: policy, grouping, outbox, notifiers and retraining targets."""
