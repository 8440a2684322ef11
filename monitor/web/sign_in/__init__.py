"""Who may come in, who it is, what they may do, and what they did."""
