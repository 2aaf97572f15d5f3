"""This machine: its clocks, locks, files that may be trusted, and its service manager."""
