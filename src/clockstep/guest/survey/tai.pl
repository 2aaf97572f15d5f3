## `tai` is in struct timex at byte 160 (linux/timex.h); the kernel has it from chronyd, or from a table of leap seconds.
my $now = "\0" x 208; print unpack("x160 l", $now) if syscall(__CALL__, $now) >= 0
