# shellcheck disable=SC2043  # __PROGRAMS__ are several
# shellcheck disable=SC2046,SC2086  # one word each
# shellcheck disable=SC2043  # __PROGRAMS__ are several
# shellcheck disable=SC2046,SC2086  # one word each
## What a node's system says of its own timekeeping; nothing is changed.
## `chronyd -p` prints the configuration with all that it includes, in the order that counts (chronyd(8)).
PATH=$PATH:/usr/sbin:/sbin
. survey/say.sh
. daemons/running.sh
. survey/fork.sh

command -v pidof >/dev/null && say daemons && running __PROGRAMS__
say others; running __OTHERS__
say capability; for name in __PROGRAMS__; do for pid in $(own_pids $name); do
grep '^CapEff:' /proc/$pid/status; done; done 2>/dev/null
say container; [ -e /run/.containerenv ] || [ -e /.dockerenv ] || systemd-detect-virt --container --quiet && echo yes
say confined; [ "$(cat /sys/fs/selinux/enforce)" = 1 ] && cat /proc/self/attr/current
say clocksource; cat /sys/devices/system/clocksource/clocksource0/current_clocksource
say kernel; uname -r
say ptp_kvm; cd /lib/modules/$(uname -r) && { grep -q ptp_kvm modules.dep modules.builtin && echo yes || echo no; }
say agent; systemctl is-active clockstep-agent
say fork; tells_of_forks && echo yes
say ptp; for clock in /sys/class/ptp/*; do [ -e $clock ] && echo "/dev/${clock##*/} $(cat $clock/clock_name)"; done
say configuration
file=$(chronyd_file)
configuration=$(chronyd -p ${file:+-f "$file"} || for file in $file __CONFIGURATIONS__; do
[ -f "$file" ] && cat "$file" && echo; done)
echo "$configuration"
say nts; { echo "$configuration"; cat /etc/chrony/sources.d/*.sources; } |
grep -iqE '^(server|pool) .*[[:space:]]nts([[:space:]]|$)' && echo yes
say links; echo "$configuration" | while read -r word kind file rest; do
case $word$kind in refclockPHC) file=${file%%:*}; echo "$file $(readlink -f "$file")";; esac; done
say sources; timeout 2 chronyc -n -c sources
say rtc; cat /sys/class/rtc/rtc0/since_epoch && date +%s
say adjtime; cat /etc/adjtime
say interpreter; for tool in perl python3 /usr/libexec/platform-python; do command -v $tool && break; done
say tai; case $(uname -m) in x86_64) call=159;; aarch64) call=171;; *) call=;; esac
[ -n "$call" ] && perl -e '__TAI__'
say end
