"""Ways to a node's inside: run a command, read the clock, adjust the clock."""
