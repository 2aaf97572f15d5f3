## The same as clock.pl.
import os, sys, time
os.write(1, (sys.argv[1] + "\n").encode())
while True:
    asked = os.read(0, 1)
    if asked == b"t":
        os.write(1, b"%d %09d\n" % divmod(time.time_ns(), 10**9))
    elif asked != b"\n":
        break
