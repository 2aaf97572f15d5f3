## `reset sources` drops what was measured before the step, `burst` measures four times now instead of at the next
## poll (chronyc(1)). No limits are changed, because nothing is left for chronyd to step.
timeout 4 chronyc -m 'reset sources' 'burst 4/4'
