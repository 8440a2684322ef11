"""What the console shows of one column: its distribution, its shares, how far it drifted, where."""
