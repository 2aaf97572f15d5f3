"""The Kubernetes cluster that the agent's node is part of: it learns what the node's clock does.

By the standard library alone, and imported only where it is asked for: TLS takes a third of the agent's memory.
"""
