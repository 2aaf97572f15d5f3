## Perl has no adjtimex(2), only the numbers of system calls: its own ELF header says whether x86_64's (machine 62) or
## aarch64's (183) is the one, without a module.
open my $self, "<", "/proc/self/exe" or exit 69;
read $self, my $elf, 20;
my ($class, $order, $machine) = unpack("x4 C C x12 v", $elf);
my $number = {62 => __X86_64__, 183 => __AARCH64__}->{$machine};
exit 69 unless $number && $class == 2 && $order == 1;
