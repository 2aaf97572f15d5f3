"""Every clock of a cluster of virtual machines right at once, and proven."""

import os.path
import sys

__version__ = "0.2.0"

CARRIED = os.path.join(os.path.dirname(__file__), "carried")  # noqa: PTH118, PTH120 - pathlib costs --version 10 ms
"""The libraries that a Debian package has in it, because the release has none or older ones; elsewhere not there."""
if os.path.isdir(CARRIED):  # noqa: PTH112
    sys.path.insert(0, CARRIED)
