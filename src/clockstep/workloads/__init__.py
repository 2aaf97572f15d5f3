"""The workloads of a node: what it has, and freezing and thawing them."""
