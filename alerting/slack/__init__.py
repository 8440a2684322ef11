"""What Slack shows, and how it is told."""
