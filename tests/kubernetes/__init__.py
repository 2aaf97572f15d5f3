"""What is tested against real API servers of Kubernetes."""
