"""Charts of the console: what they show, and the forms in which it is given."""
