import os, sys, time
device = os.open(sys.argv[1], os.O_RDONLY)
print(round(time.clock_gettime((~device << 3) | 3) - time.time()))
