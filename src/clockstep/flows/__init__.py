"""The order of effects around the loop: what happens to many nodes together, and what happens when one fails."""
