open my $self, "<", "/proc/self/exe" or exit 69;
read $self, my $elf, 20;
my $number = {62 => 228, 183 => 113}->{unpack("x18 v", $elf)} or exit 69;
open my $device, "<", $ARGV[0] or exit 1;
my $now = "\0" x 16;
syscall($number, (~fileno($device) << 3) | 3, $now) == 0 or exit 1;
printf "%.0f\n", unpack("q", $now) - time
