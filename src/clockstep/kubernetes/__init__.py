"""A Kubernetes cluster, as its API server has it: the roles of `ports/kubernetes.py`, over lightkube."""
