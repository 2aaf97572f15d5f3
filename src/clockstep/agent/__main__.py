"""`python3 -m clockstep.agent`, and what a zipapp of it runs."""

import os
import sys

from clockstep.agent.main import main

if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # whatever thread still waits for a program that hangs
