## Answers each `t` by clock_gettime(2), without a module that could be missing.
require "step/number.pl";
my $now = "\0" x 16;
syswrite STDOUT, "$ARGV[0]\n";
while (sysread STDIN, my $asked, 1) {
    next if $asked eq "\n";
    last if $asked ne "t" || syscall($number, 0, $now) < 0;
    syswrite STDOUT, sprintf("%d %09d\n", unpack("q2", $now));
}
