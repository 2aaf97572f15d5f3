# Sets up chrony on a virtual machine: it follows the hypervisor's own clock where there is one, steps whenever a
# revert or a pause left the clock behind, and starts also where that clock is missing.
#
#   sh setup.sh            do it here, and put everything back where it fails
#   sh setup.sh plan       print what would be changed, and change nothing
#   sh setup.sh undo       restore what was there before
#
# It needs root, systemd, a POSIX shell, and apt or dnf where chrony is missing.

ROOT=${ROOT:-}
LANG=C LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
export LANG LC_ALL PATH
umask 022
STATE=$ROOT/var/lib/clockstep-setup
MARK='# Written by clockstep setup'
HEAD="$MARK; clockstep setup --undo removes it."
DAEMONS='systemd-timesyncd ntp ntpsec openntpd ntpd ntpd-rs'
PROGRAMS='chronyd systemd-timesyncd ntpd ntp-daemon'
UNITS="chrony chronyd $DAEMONS"
OWN_LINK=/dev/ptp_clockstep
MODULES_FILE=/etc/modules-load.d/clockstep.conf
RULES_FILE=/etc/udev/rules.d/90-clockstep.rules
PROOF_S=${PROOF_S:-90}
NEWLINE='
'
changed=no begun=no lacking=

has() { command -v "$1" >/dev/null 2>&1; }
cut_short() { [ -e "$STATE/begun" ] && [ ! -e "$STATE/done" ]; }
running() { for name; do pidof "$name" >/dev/null 2>&1 && echo "$name"; done; }
marked() { head -n 1 "$1" 2>/dev/null | grep -qF "$MARK"; }

look() {
    ID='' ID_LIKE='' VERSION_ID='' VARIANT_ID=''
    [ -r "$ROOT/etc/os-release" ] && . "$ROOT/etc/os-release"
    manager=
    for one in apt-get dnf zypper pacman apk; do has $one && manager=$one && break; done
    case $ID/$VARIANT_ID in flatcar/*|talos/*) manager=$ID ;; */coreos) manager=ostree ;; esac
    [ -e "$ROOT/run/ostree-booted" ] && manager=ostree
    conf=
    for one in /etc/chrony/chrony.conf /etc/chrony.conf; do [ -f "$ROOT$one" ] && conf=$one && break; done
    version=
    has chronyd && version=$(chronyd -v 2>/dev/null | sed -n 's/.*version \([0-9][0-9.]*\).*/\1/p')
    unit=
    for one in chrony chronyd; do
        [ -e "$ROOT/lib/systemd/system/$one.service" ] || [ -e "$ROOT/usr/lib/systemd/system/$one.service" ] || continue
        unit=$one && break
    done
    find_clock
    place
}

# The hypervisor's clock is known by its name, since ptp0 may be a network card's (linux: drivers/ptp, drivers/hv).
find_clock() {
    clock='' clock_name='' clock_forced=no not_taken='' module=
    for one in "$ROOT"/sys/class/ptp/*; do
        [ -r "$one/clock_name" ] || continue
        device=/dev/${one##*/}
        name=$(cat "$one/clock_name")
        if [ -n "$PHC" ]; then
            [ "$(readlink -f "$ROOT$PHC")" = "$(readlink -f "$ROOT$device")" ] || continue
            clock=$device clock_name=$name
            is_hosts "$name" || clock_forced=yes
        elif is_hosts "$name"; then
            [ -n "$clock" ] || { clock=$device clock_name=$name; }
        else
            card=$(ls "$one/device/net" 2>/dev/null | head -n 1)
            [ -z "$card" ] || card="the network card $card's, "
            not_taken="$not_taken$device is ${card}called $name$NEWLINE"
        fi
    done
    link=
    for one in "$ROOT"/dev/ptp_*; do
        [ -n "$clock" ] && [ -e "$one" ] && [ "$one" != "$ROOT$OWN_LINK" ] || continue
        [ "$(readlink -f "$one")" = "$(readlink -f "$ROOT$clock")" ] && link=${one#"$ROOT"} && break
    done
    modules=$ROOT/lib/modules/$(uname -r)
    if [ -z "$clock$PHC" ] && is_on_kvm &&
        grep -qs 'ptp_kvm' "$modules/modules.dep" && [ "$(cat "$STATE/no-ptp_kvm" 2>/dev/null)" != "$(uname -r)" ]; then
        module=ptp_kvm   # it may still turn out that the host does not offer it
    fi
}

# On arm64 there is no clocksource of KVM's, and older systemd calls it qemu; the module itself asks the hypervisor.
is_on_kvm() {
    grep -qs kvm-clock "$ROOT/sys/devices/system/clocksource/clocksource0/available_clocksource" && return
    [ "$(uname -m)" = aarch64 ] || return 1
    case $(systemd-detect-virt 2>/dev/null) in kvm|qemu) ;; *) return 1 ;; esac
}

is_hosts() {
    echo "$HOST_CLOCKS" | while read -r known; do
        case $1 in "$known"*) exit 1 ;; esac
    done && return 1 || return 0
}

# Of several makestep lines the last one counts, so the drop-in must be read after the others: in confdir where that
# stands behind them (Debian 13), else by a line at the end of chrony.conf (Debian 12, Fedora).
place() {
    folder=/etc/chrony/clockstep.d include=yes usual=chrony confdirs=
    case ${conf:-$manager} in
    /etc/chrony.conf|dnf|zypper|pacman|ostree) folder=/etc/chrony-clockstep.d usual=chronyd ;;
    esac
    unit_folder=/etc/systemd/system/${unit:-$usual}.service.d
    if [ -n "$conf" ]; then
        last=$(unincluded "$ROOT$conf" | awk '
            tolower($1) == "confdir" && $2 !~ /^\/run\// { dir = $2; after = 0 }
            tolower($1) ~ /^(makestep|include)$/ { after = 1 }
            END { if (dir != "" && !after) print dir }')
        confdirs=$(awk 'tolower($1) == "confdir" { for (i = 2; i <= NF; i++) print $i }' "$ROOT$conf")
        [ -n "$last" ] && folder=$last include=no
    elif [ "$ID" = debian ] && [ "${VERSION_ID:-99}" -ge 13 ]; then
        folder=/etc/chrony/conf.d include=no
    fi
    main=$folder/zz-clockstep.conf
    guarded=$folder/zz-clockstep-phc.conf
}

# `chronyd -p`, by which all is checked, came with 4.0.
too_old() {
    case $1 in [0-3]|[0-3].*) ;; *) return 1 ;; esac
}

knows_optional() {
    case $version in ''|[0-3].*|4|4.[0-8]|4.[0-8].*) return 1 ;; esac
}
