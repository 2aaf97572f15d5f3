require "step/step.pl";
exit step(@ARGV);
