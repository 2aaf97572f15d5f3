"""python -m clockstep: the same as the command."""

from clockstep.cli import main

main()
