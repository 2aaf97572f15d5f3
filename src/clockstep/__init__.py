"""Every clock of a cluster of virtual machines right at once, and proven."""

__version__ = "0.1.0"
