# shellcheck disable=SC1091  # the node's own os-release
## A node's own agent: its one file and its unit, brought here and started, and removed again. `look` and `status` print
## sections; the last line that any other verb prints is its result.
ROOT=${ROOT:-}
LANG=C LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
export LANG LC_ALL PATH
umask 022
PROGRAM=__PROGRAM__ UNIT_FILE=__UNIT_FILE__ UNIT=__UNIT__
STATE=${ROOT}__FOLDER__
MARK='__MARK__' CONTENT=__CONTENT__

has() { command -v "$1" >/dev/null 2>&1; }
result() { printf '%s\n' "$1"; exit "${2:-0}"; }
there() { [ -e "$1" ] || [ -L "$1" ]; }
cut_short() { [ -e "$STATE/begun" ] && [ ! -e "$STATE/done" ]; }
marked() { [ -f "$ROOT$UNIT_FILE" ] && head -n 1 "$ROOT$UNIT_FILE" | grep -qF "$MARK"; }
is_ours() {
    case $1 in
    "$UNIT_FILE") marked ;;
    *) { marked || [ -e "$STATE/begun" ]; } && [ -f "$ROOT$1" ] && grep -qF "$CONTENT" "$ROOT$1" ;;
    esac
}

. setup/confined.sh

. daemons/running.sh

. survey/fork.sh

. survey/say.sh

look() {
    say system; [ ! -r "$ROOT/etc/os-release" ] || (. "$ROOT/etc/os-release" && echo "${ID-} ${VERSION_ID-}")
    say user; id -u
    say systemd; has systemctl && [ -d "$ROOT/run/systemd/system" ] && echo yes
    say confined; ! confined || echo "$label"
    say python; pythons
    say ptp; for one in "$ROOT"/sys/class/ptp/*; do
        [ -r "$one/clock_name" ] && echo "/dev/${one##*/} $(cat "$one/clock_name")"
    done
    say daemons; running __PROGRAMS__
    say others; running __OTHERS__
    say fork; tells_of_forks && echo yes
    say vmclock; for one in "$ROOT"/dev/vmclock*; do [ ! -e "$one" ] || echo "${one#"$ROOT"}"; done
    say unwritable; unwritable
    say foreign; foreign
    say interrupted; cut_short && echo yes
    say applied; { marked || [ -d "$STATE" ]; } && echo yes
    say program; ! is_ours $PROGRAM || sha256sum "$ROOT$PROGRAM"
    say enabled; systemctl is-enabled --quiet $UNIT 2>/dev/null && echo yes
    say active; systemctl is-active --quiet $UNIT 2>/dev/null && echo yes
    if marked; then say unit; sed 's/^/|/' "$ROOT$UNIT_FILE"; fi
    say end
}

# What there is of python, with its version: where the usual one is too old, a newer one may be beside it. The system's
# own come first: who runs this may have a virtualenv or a home folder in PATH, which the unit had better not depend on.
pythons() {
    listed=' '
    for places in "$ROOT/usr/bin:$ROOT/usr/local/bin" "$PATH"; do
        for one in python3 python3.14 python3.13 python3.12 python3.11; do
            file=$(PATH=$places && command -v $one) || continue
            case $listed in *" $file "*) continue ;; esac
            listed="$listed$file "
            echo "$file $("$file" -I -S -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)"
        done
    done
}

# The first folder that would have to be written, and cannot be.
unwritable() {
    for file in "$ROOT$PROGRAM" "$ROOT$UNIT_FILE" "$STATE"; do
        folder=${file%/*}
        while [ ! -d "$folder" ] && [ -n "$folder" ]; do folder=${folder%/*}; done
        [ -w "${folder:-/}" ] || { echo "${folder#"$ROOT"}" && return; }
    done
}

# What somebody else has put in a file's place, or a unit of this name that is elsewhere, as a package's.
foreign() {
    for file in $UNIT_FILE $PROGRAM; do
        there "$ROOT$file" && ! is_ours "$file" && echo "$file" && return
    done
    place=$(systemctl show --value --property FragmentPath $UNIT 2>/dev/null)
    [ -z "$place" ] || [ "$place" = $UNIT_FILE ] || echo "$place"
}

# Takes a piece of a new file from its input: the program or the unit, which piece, and of how many.
keep() {
    part=$STATE/new/$1.part
    { mkdir -p "$STATE/new" && chmod 700 "$STATE" && { [ "$2" -gt 1 ] || : >"$part"; } && cat >>"$part" &&
        { [ "$2" -lt "$3" ] || mv -f "$part" "$STATE/new/$1"; }; } || refuse "$STATE cannot be written"
    result kept
}

# Whether a file is the one with this sum: a piece that comes late, or of another run, makes it another.
arrived() { [ "$(sha256sum <"$STATE/new/$1")" = "$2  -" ]; }

# Ends what has changed nothing yet, and leaves nothing behind.
refuse() {
    [ -e "$STATE/begun" ] || rm -rf "$STATE"
    result "refused $1" 1
}

# Ends the work: what was changed is put back.
fail() {
    trap '' HUP INT TERM
    put_back || result "broken $1; and then: $lacking" 1
    result "failed $1" 1
}

# What is there now, for the way back.
kept_aside() {
    rm -rf "$STATE/before"
    mkdir -p "$STATE/before" || return
    ! is_ours $PROGRAM || cp -p "$ROOT$PROGRAM" "$STATE/before/program" || return
    ! marked || cp -p "$ROOT$UNIT_FILE" "$STATE/before/unit"
}

# What follows may be cut off anywhere: the program is there before the unit, and both before it is enabled. `before`
# has what was there before this run, or before the one that was cut off; an earlier run's `done` goes only after that.
apply() {
    { arrived program "$2" && arrived unit "$3"; } || refuse "its files did not arrive whole: run it again"
    answer=$("$1" -I -S "$STATE/new/program" --version 2>&1) ||
        refuse "$1 cannot run the agent: $(echo "$answer" | tail -n 1)"
    if ! cut_short; then
        kept_aside || refuse "$STATE cannot be written"
        sync
        { touch "$STATE/begun" && rm -f "$STATE/done"; } || refuse "$STATE cannot be written"
        sync
    fi
    trap 'fail "it was interrupted"' HUP INT TERM
    put "$STATE/new/program" $PROGRAM 755 || fail "$PROGRAM cannot be written"
    put "$STATE/new/unit" $UNIT_FILE 644 || fail "$UNIT_FILE cannot be written"
    rm -rf "$STATE/new"
    systemctl daemon-reload
    answer=$(systemctl enable $UNIT 2>&1) || fail "its unit cannot be enabled: $(echo "$answer" | tail -n 1)"
    timeout 120 systemctl restart $UNIT 2>/dev/null || fail "the agent does not start: $(why)"
    touch "$STATE/done"
    sync
    result 'done'
}

# Gives a file this content, as a whole.
put() {
    mkdir -p "$ROOT${2%/*}" && cp "$1" "$ROOT$2.clockstep-part" && chmod "$3" "$ROOT$2.clockstep-part" &&
        mv -f "$ROOT$2.clockstep-part" "$ROOT$2" && { ! has restorecon || restorecon "$ROOT$2"; }
    answer=$?
    sync
    return $answer
}

# What the agent printed last.
why() {
    answer=$(journalctl --unit $UNIT --identifier clockstep-agent --lines 2 --output cat --no-pager 2>/dev/null)
    [ -n "$answer" ] || answer=$(systemctl show --value --property Result $UNIT 2>/dev/null)
    echo "$answer" | sed 's/^ *//; s/^clockstep-agent: //' | tr '\n' ' ' | sed 's/ *$//' | cut -c 1-300
}

# To how it was before this run: to an earlier agent, or to none.
put_back() {
    if [ ! -e "$STATE/before/unit" ] || [ ! -e "$STATE/before/program" ]; then
        remove
        return
    fi
    { put "$STATE/before/program" $PROGRAM 755 && put "$STATE/before/unit" $UNIT_FILE 644; } ||
        { lacking="the earlier agent could not be written" && return 1; }
    systemctl daemon-reload
    timeout 120 systemctl restart $UNIT 2>/dev/null ||
        { lacking="the earlier agent does not start: $(why)" && return 1; }
    touch "$STATE/done"
}

# Stops it and removes what is ours, and the notes last: whatever cuts this off, it can be done again. A unit that runs
# on keeps its files: without them nothing would stop it later.
remove() {
    lacking=
    ! marked || answer=$(systemctl disable --now $UNIT 2>&1) ||
        { lacking="its unit could not be stopped: $(echo "$answer" | tail -n 1)" && return 1; }
    ! is_ours $PROGRAM || rm -f "$ROOT$PROGRAM" || lacking="$PROGRAM could not be removed"
    ! marked || rm -f "$ROOT$UNIT_FILE" || lacking="$UNIT_FILE could not be removed"
    rm -f "$ROOT$PROGRAM.clockstep-part" "$ROOT$UNIT_FILE.clockstep-part"
    systemctl daemon-reload
    systemctl reset-failed $UNIT 2>/dev/null
    sync
    [ -z "$lacking" ] && rm -rf "$STATE"
}

back() { put_back || result "broken $lacking" 1; result 'done'; }
undo() { remove || result "broken $lacking" 1; result 'done'; }

status() {
    say unit; systemctl show --property ActiveState --property StatusText $UNIT 2>/dev/null
    say why; systemctl is-active --quiet $UNIT 2>/dev/null || why
    say end
}

# Two at once would take each other's way back; a lock of the kernel's ends with whoever holds it.
alone() {
    [ -w "$ROOT/run" ] && has flock || return 0
    exec 9>"$ROOT/run/clockstep-agent-setup.lock"
    flock -n 9 || result "refused another setup of the agent is running" 1
}

case $1 in look|status) ;; *) alone ;; esac
"$@"
