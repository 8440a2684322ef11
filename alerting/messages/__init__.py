"""What people read, whatever the receiver."""
