"""What people do in Slack: presses of buttons, heard through Socket Mode."""
