## Waits for lines in a fifo, its standard input, and steps; ends when its lease of monotonic seconds is over.
require "step/step.pl";

my ($lease, $till, $fifo) = @ARGV;
$SIG{ALRM} = sub {
    my @own = stat STDIN;
    my @there = stat $fifo;
    unlink $fifo, "$fifo.ready" if @there && $own[1] == $there[1];
    exit;
};
alarm $lease;
syswrite STDOUT, "$$ $till\n";
open STDOUT, ">", "/dev/null";
my $heard = "";
while (sysread STDIN, $heard, 4096, length $heard) {
    while ($heard =~ s/^(.*)\n//) {
        exit if $1 eq "end";
        step(split " ", $1);
    }
}
