"""Charts of an incident from what is stored: for receivers that can show images."""
