# shellcheck disable=SC1091  # the node's own os-release
# shellcheck disable=SC2012  # a network card's name
# shellcheck disable=SC2015  # an assignment does not fail
# shellcheck disable=SC2034  # ID_LIKE is cleared with the others
# shellcheck disable=SC1091  # the node's own os-release
# shellcheck disable=SC2012  # a network card's name
# shellcheck disable=SC2015  # `continue` where any of them fails
# shellcheck disable=SC2034  # ID_LIKE is cleared with the others
look() {
    ID='' ID_LIKE='' VERSION_ID='' VARIANT_ID=''
    [ -r "$ROOT/etc/os-release" ] && . "$ROOT/etc/os-release"
    manager=
    for one in apt-get dnf zypper pacman apk; do has $one && manager=$one && break; done
    case $ID/$VARIANT_ID in flatcar/*|talos/*) manager=$ID ;; */coreos) manager=ostree ;; esac
    [ -e "$ROOT/run/ostree-booted" ] && manager=ostree
    conf=''
    for one in /etc/chrony/chrony.conf /etc/chrony.conf; do [ -f "$ROOT$one" ] && conf=$one && break; done
    named=$(chronyd_file)
    [ -f "$ROOT$named" ] && conf=$named || named=
    version=
    has chronyd && version=$(chronyd -v 2>/dev/null | sed -n 's/.*version \([0-9][0-9.]*\).*/\1/p')
    unit=
    for one in chrony chronyd; do
        [ -e "$ROOT/lib/systemd/system/$one.service" ] || [ -e "$ROOT/usr/lib/systemd/system/$one.service" ] || continue
        unit=$one && break
    done
    place
    find_clock
}

# How far the clock is ahead of the node's own, in whole seconds. Where it is about what TAI is ahead of UTC, it counts
# TAI, whatever it is called: vmclock's does from Linux 7.0 on. Where neither perl nor python is there to read it, the
# proof from outside has to tell.
time_scale() {
    ahead=$(by_interpreter "$AHEAD_BY_PERL" "$AHEAD_BY_PYTHON" "$ROOT$clock" 2>/dev/null)
    case $ahead in
    ''|-0|0|[1-5]|-[1-5]) ;;
    3[5-9])
        if leap_source; then scale=tai
        elif [ -z "$PHC" ]; then
            not_taken="$not_taken$clock is $clock_name, which counts TAI, and no table of leap seconds is there$NEWLINE"
            clock='' clock_name='' theirs=''
        fi ;;
    *) [ -z "$PHC" ] || return 0
        not_taken="$not_taken$clock is ${clock_name}, $ahead s ahead of the node's clock: bring that right first$NEWLINE"
        clock='' clock_name='' theirs='' ;;
    esac
}

# What chronyd takes the difference of TAI and UTC from, as a line to be added: none where it has one (chrony.conf(5)).
# leapseclist came with 4.6.
leap_source() {
    leaps=
    ! configuration 2>/dev/null | grep -qiE '^leapsec(tz|list) ' || return 0
    if [ -e "$ROOT/usr/share/zoneinfo/leap-seconds.list" ] && knows_leapseclist; then
        leaps="leapseclist /usr/share/zoneinfo/leap-seconds.list"
    elif [ -e "$ROOT/usr/share/zoneinfo/right/UTC" ]; then
        leaps="leapsectz right/UTC"
    else
        return 1
    fi
}

by_interpreter() {
    perl=$1 python=$2
    shift 2
    if has perl; then perl -e "$perl" "$@"
    elif has python3; then python3 -I -S -c "$python" "$@"
    elif has /usr/libexec/platform-python; then /usr/libexec/platform-python -I -S -c "$python" "$@"
    else return 69; fi
}

# A clock of a device is read by its open file's number (linux: FD_TO_CLOCKID in include/linux/posix-timers.h).
AHEAD_BY_PERL='__AHEAD_PL__'
AHEAD_BY_PYTHON='__AHEAD_PY__'


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
    theirs=
    [ -n "$PHC" ] || their_clock
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
    scale=
    [ -z "$clock" ] || time_scale
}

# A line of somebody else's that has chronyd follow the hypervisor's clock is kept, and counts.
their_clock() {
    has chronyd || return 0
    device=$(others_clock | awk '{ sub(/:.*/, "", $3); print $3 }')
    [ -n "$device" ] && [ -e "$ROOT$device" ] || return 0
    number=$(readlink -f "$ROOT$device")
    name=$(cat "$ROOT/sys/class/ptp/${number##*/}/clock_name" 2>/dev/null)
    [ -n "$name" ] && is_hosts "$name" && theirs=$device clock=/dev/${number##*/} clock_name=$name
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

knows_leapseclist() {
    case $version in ''|[0-3].*|4|4.[0-5]|4.[0-5].*) return 1 ;; esac
}

knows_optional() {
    case $version in ''|[0-3].*|4|4.[0-8]|4.[0-8].*) return 1 ;; esac
}
