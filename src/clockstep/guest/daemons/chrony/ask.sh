## -n: a reverse look-up of each source's name could take seconds. -m: one process for both questions. A chronyd that
## hangs keeps chronyc waiting for 21 s.
timeout 2 chronyc -n -c -m tracking sources 2>/dev/null
