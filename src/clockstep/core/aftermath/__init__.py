"""What a wrong time breaks in a Kubernetes cluster: one file for each check, listed in `every.py`."""
