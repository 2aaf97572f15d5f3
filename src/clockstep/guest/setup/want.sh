# shellcheck disable=SC2086  # lists of words: packages, units, files
# shellcheck disable=SC2086  # lists of words: packages, units, files
# What should be there, and what forbids it.

# Writes into the folder $wanted, under the paths they are to have, all files as they should be.
want() {
    wanted=$1
    followed=$clock
    [ -n "$clock" ] && followed=${link:-$OWN_LINK}
    [ -n "$module" ] && followed=/dev/ptp_kvm
    [ -z "$theirs" ] || followed=$theirs
    line="refclock PHC $followed poll 1 dpoll -1 filter 4"
    [ "$TRUST" = yes ] && line="$line trust"
    prefers && line="$line prefer"
    [ -z "$scale" ] || line="${leaps:+$leaps$NEWLINE}$line $scale"
    what="The hypervisor's own clock."
    [ $clock_forced = no ] || what="Whatever clock this is, it was asked for."
    put "$main" "$HEAD
# A clock that is more than a second off is stepped, at any time: a revert or a pause leaves it behind.
makestep 1 -1"
    if [ -n "$theirs" ]; then
        :
    elif [ -n "$followed" ] && knows_optional; then
        printf '%s\n%s\n' "# $what chronyd starts also where it is missing." "$line optional" \
            >>"$wanted$main"
    elif [ -n "$followed" ]; then
        put "$guarded" "$HEAD
# $what Called .off while that is missing, by $unit_folder/clockstep.conf.
$line"
    fi
    if [ -n "$followed" ]; then
        wait="[ -e $followed ] || udevadm settle --timeout=5 --exit-if-exists=$followed"
        choose=":"
        show="mv -f zz-clockstep-phc.off zz-clockstep-phc.conf" hide="mv -f zz-clockstep-phc.conf zz-clockstep-phc.off"
        [ -n "$theirs" ] || knows_optional || choose="cd $folder && if [ -e $followed ]; then $show; else $hide; fi"
        put "$unit_folder/clockstep.conf" "$HEAD
# Waits for the clock's device to come up; before 4.9 chronyd would not start where it is missing, so it is hidden then.
[Service]
ExecStartPre=-+/bin/sh -c '{ $wait; $choose; } >/dev/null 2>&1; exit 0'"
    fi
    if [ "$followed" = "$OWN_LINK" ]; then
        put "$RULES_FILE" "$HEAD
SUBSYSTEM==\"ptp\", ATTR{clock_name}==\"$clock_name\", SYMLINK+=\"${OWN_LINK#/dev/}\""
    fi
    if [ -n "$module" ] || { [ "$clock_name" = 'KVM virtual PTP' ] && grep -qs ptp_kvm "$modules/modules.dep"; }; then
        put "$MODULES_FILE" "$HEAD
ptp_kvm"
    fi
    if [ "$POLLS" = short ] && [ -z "$followed" ]; then polls=shortened; else polls=unshortened; fi
    sourced | while read -r file; do
        mkdir -p "$wanted${file%/*}"
        $polls "$ROOT$file" >"$wanted$file"
    done
    [ -n "$conf" ] || return 0
    mkdir -p "$wanted${conf%/*}"
    unincluded "$ROOT$conf" >"$wanted$conf.part"
    $polls "$wanted$conf.part" >"$wanted$conf"
    rm "$wanted$conf.part"
    [ $include = yes ] || return 0
    [ -z "$(tail -c 1 "$wanted$conf")" ] || echo >>"$wanted$conf"
    included >>"$wanted$conf"
}

# The files of others that name time servers, but for chrony.conf itself.
sourced() {
    for file in "$ROOT"/etc/chrony/sources.d/*.sources "$ROOT"/etc/chrony/conf.d/*.conf "$ROOT"/etc/chrony.d/*.conf; do
        [ -f "$file" ] && ! marked "$file" && grep -qiE '^[[:space:]]*(server|pool|peer)[[:space:]]' "$file" &&
            echo "${file#"$ROOT"}"
    done
}

# A line that is changed stands above its new one, as it was.
WAS='#clockstep setup: '
shortened() {
    unshortened "$1" | awk -v was="$WAS" '
        tolower($1) !~ /^(server|pool|peer)$/ { print; next }
        {
            before = $0; line = ""; most = 0
            for (i = 1; i <= NF; i++) {
                if ($i == "maxpoll" || $i == "minpoll") {
                    if ($(i + 1) > 6) $(i + 1) = 6
                    most += $i == "maxpoll"
                }
                line = line (i > 1 ? " " : "") $i
            }
            if (!most) line = line " maxpoll 6"
            if (line != before) print was before
            print line
        }'
}
unshortened() {
    awk -v was="$WAS" 'index($0, was) == 1 { print substr($0, length(was) + 1); getline; next } { print }' "$1"
}

# Where other sources are preferred, one that is not is never selected (chrony: SRC_SelectSource in sources.c).
prefers() {
    [ -n "$version" ] || return 1
    own=$(ours | while read -r file; do grep '^refclock ' "$ROOT$file"; done)
    { configuration 2>/dev/null | grep -vxF "$own"; cat "$ROOT"/etc/chrony/sources.d/*.sources 2>/dev/null; } |
        grep -iqE '^(server|pool|peer|refclock)[[:space:]](.*[[:space:]])?prefer([[:space:]]|$)'
}

put() { mkdir -p "$wanted${1%/*}" && echo "$2" >"$wanted$1"; }
unincluded() { sed -e '/^# Written by clockstep setup/d' -e '/^include \/etc\/chrony[/-]clockstep\.d\//d' "$1"; }
included() {
    printf '%s\n' "$HEAD Read last, since of several makestep the last one counts." "include $folder/zz-*.conf"
}

ours() { owned | while read -r file; do marked "$ROOT$file" && echo "$file"; done; }

# The files that clockstep may ever have written, but for chrony.conf.
# First what brings the clock at a boot, and hides it while it is missing; then what names it.
owned() {
    printf '%s\n' $MODULES_FILE $RULES_FILE
    for one in chrony chronyd; do echo /etc/systemd/system/$one.service.d/clockstep.conf; done
    for one in /etc/chrony/clockstep.d /etc/chrony-clockstep.d /etc/chrony/conf.d $confdirs "$folder"; do
        printf '%s\n' $one/zz-clockstep.conf $one/zz-clockstep-phc.conf $one/zz-clockstep-phc.off
    done | awk '!seen[$0]++'
}

# Each file that is not as it should be. In this order they may be cut short anywhere, and chronyd starts all the same:
# they are written as they are owned, and removed the other way round.
differing() {
    superfluous=
    for file in $(owned) $conf $(sourced); do
        cmp -s "$wanted$file" "$ROOT$file" && continue
        if [ -e "$wanted$file" ]; then echo "$file"; elif [ -e "$ROOT$file" ]; then superfluous="$file $superfluous"; fi
    done
    for file in $superfluous; do echo "$file"; done
}

# Whether there is a unit of this name; an alias is another one's.
is_unit() {
    [ "$(systemctl show --value --property LoadState $1.service 2>/dev/null)" = loaded ] &&
        [ "$(systemctl show --value --property Id $1.service)" = $1.service ]
}

# Which other time daemons would go.
replaced() {
    for one in $DAEMONS; do
        if [ -z "$version" ] && has dpkg-query; then
            [ "$(dpkg-query -W -f '${db:Status-Status}' $one 2>/dev/null)" = installed ] && echo $one && continue
        fi
        is_unit $one && systemctl is-active --quiet $one && echo $one
    done
}

# Prints the one reason why nothing may be done, or nothing.
objection() {
    if confined; then
        echo "SELinux confines the guest agent there ($label): set it up by ssh (--reach ssh)," \
            "or run in it before: semanage permissive -a virt_qemu_ga_t"
    elif [ "$(id -u)" != 0 ]; then
        echo "setup needs root on the node"
    elif ! has systemctl || [ ! -d "$ROOT/run/systemd/system" ]; then
        echo "the node does not run systemd, which setup needs"
    elif [ ! -w "$ROOT/etc" ]; then
        echo "/etc is read-only"
    elif [ -n "$PHC" ] && [ -z "$clock" ]; then
        echo "$PHC is not a hardware clock of the node"
    elif said=$(foreign) && [ -n "$said" ]; then
        echo "$said exists, and clockstep did not write it"
    elif too_old "$version"; then
        echo "chrony $version is installed, which is too old: 4.0 or newer is needed"
    elif [ -n "$version" ] && ! cut_short && said=$(unreadable) && [ -n "$said" ]; then
        echo "$said"
    elif [ -z "$theirs" ] && said=$(others_clock) && [ -n "$said" ]; then
        echo "chrony's configuration has another hardware clock; remove it first: $said"
    elif [ -z "$version" ] && said=$(locked) && [ -n "$said" ]; then
        echo "the package manager is busy: $said is locked"
    elif without_time; then
        echo "no time server answers there, and no hypervisor's clock can be followed: $(echo "$silent" | tr '\n' ';' | sed 's/;$//; s/;/; /g')"
    fi
}

. setup/confined.sh

# What keeps chronyd from starting as it is. Packages that a power cut left half installed may still bring the rest.
unreadable() {
    if [ -z "$conf" ]; then
        echo "chronyd is installed, but its chrony.conf was not found"
    elif ! said=$(configuration 2>&1 >/dev/null); then
        said=$(echo "$said" | tail -n 1 | sed 's/.*Fatal error : //')
        echo "chronyd does not accept its current configuration: $said"
    fi
}

# A hardware clock that somebody else has chronyd follow: it would be another vote, may be missing, and any may be `#*`.
others_clock() {
    [ -n "$version" ] || return 0
    own=$(ours | while read -r file; do grep '^refclock ' "$ROOT$file"; done)
    configuration 2>/dev/null | grep -i '^refclock PHC ' | grep -vxF "$own" | head -n 1
}

foreign() {
    owned | while read -r file; do
        [ -e "$ROOT$file" ] && ! marked "$ROOT$file" && echo "$file" && break
    done
}

# By the kernel's own list of locks (proc_locks(5)), so that nothing need be tried.
locked() {
    for file in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock /var/lib/rpm/.rpm.lock; do
        inode=$(stat -c %i "$ROOT$file" 2>/dev/null) || continue
        grep -q ":$inode " "$ROOT/proc/locks" && echo "$file" && break
    done
}
