from step.step import *
sys.exit(step(*sys.argv[1:]))
