"""The kernel's own interfaces to clocks: ctypes and nothing else."""
