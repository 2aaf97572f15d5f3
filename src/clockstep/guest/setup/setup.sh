#!/bin/sh
# Sets up chrony on a virtual machine: it follows the hypervisor's own clock where there is one, steps whenever a
# revert or a pause left the clock behind, and starts also where that clock is missing.
#
#   sh setup.sh            do it here, and put everything back where it fails
#   sh setup.sh plan       print what would be changed, and change nothing
#   sh setup.sh undo       restore what was there before
#
# It needs root, systemd, a POSIX shell, and apt or dnf where chrony is missing.

PHC=__PHC__ TRUST=__TRUST__
HOST_CLOCKS=__HOST_CLOCKS__
POLLS=__POLLS__
PROGRAMS=__PROGRAMS__
ROOT=${ROOT:-}
LANG=C LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
export LANG LC_ALL PATH
umask 022
STATE=$ROOT/var/lib/clockstep-setup
MARK='# Written by clockstep setup'
HEAD="$MARK; clockstep setup undo removes it."
DAEMONS='systemd-timesyncd ntp ntpsec openntpd ntpd ntpd-rs'
UNITS="chrony chronyd $DAEMONS"
OWN_LINK=/dev/ptp_clockstep
MODULES_FILE=/etc/modules-load.d/clockstep.conf
RULES_FILE=/etc/udev/rules.d/90-clockstep.rules
PROOF_S=${PROOF_S:-90}
NEWLINE='
'
changed=no begun=no lacking=

configuration() { if [ -n "$named" ]; then chronyd -p -f "$named"; else chronyd -p; fi; }
has() { command -v "$1" >/dev/null 2>&1; }
cut_short() { [ -e "$STATE/begun" ] && [ ! -e "$STATE/done" ]; }
marked() { head -n 1 "$1" 2>/dev/null | grep -qF "$MARK"; }

. setup/look.sh

. daemons/running.sh

. setup/servers.sh

. setup/want.sh

. setup/plan.sh

. setup/act.sh

. setup/back.sh
