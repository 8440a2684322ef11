"""What is wrong with the service, what it means, and what to do next; one file a part of it."""
