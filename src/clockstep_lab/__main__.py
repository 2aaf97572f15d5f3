"""python -m clockstep_lab: what `clockstep lab` runs."""

from .cli import main

main()
