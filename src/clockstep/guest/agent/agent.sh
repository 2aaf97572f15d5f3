# shellcheck disable=SC2015  # `there || missing`: printing the first does not fail
# shellcheck disable=SC2015  # printing the first does not fail
# Looks whether qemu-guest-agent is installed in a node, installs it, or removes it again if it was installed so.
# The last line of what it prints is the result.
STATE=/var/lib/clockstep-setup
export DEBIAN_FRONTEND=noninteractive LC_ALL=C

said() { printf '%s\n' "$1"; exit "${2:-0}"; }

manager() {
    for name in apt-get dnf zypper apk; do
        command -v $name >/dev/null 2>&1 && { echo $name; return; }
    done
}

there() { command -v qemu-ga >/dev/null 2>&1 || [ -x /usr/sbin/qemu-ga ] || [ -x /usr/bin/qemu-ga ]; }

install() {
    case $(manager) in
    apt-get)
        dpkg --configure -a &&
            apt-get -qq -o DPkg::Lock::Timeout=60 update &&
            apt-get -qq -o DPkg::Lock::Timeout=60 --no-install-recommends --yes install qemu-guest-agent ;;
    dnf) dnf --quiet --assumeyes install qemu-guest-agent ;;
    zypper) zypper --quiet --non-interactive install qemu-guest-agent ;;
    apk) apk add --quiet qemu-guest-agent ;;
    esac
}

remove() {
    case $(manager) in
    apt-get) apt-get -qq -o DPkg::Lock::Timeout=60 --yes remove qemu-guest-agent ;;
    dnf) dnf --quiet --assumeyes remove qemu-guest-agent ;;
    zypper) zypper --quiet --non-interactive remove qemu-guest-agent ;;
    apk) apk del --quiet qemu-guest-agent ;;
    esac
}

start() {
    command -v systemctl >/dev/null 2>&1 || { rc-service qemu-guest-agent start && rc-update add qemu-guest-agent; return; }
    systemctl enable qemu-guest-agent 2>/dev/null
    [ "$1" != now ] || timeout 60 systemctl restart qemu-guest-agent
}

[ "$(id -u)" = 0 ] || said "not root there, so nothing can be installed" 1
case $1 in
look)
    [ -n "$(manager)" ] || said "no package manager that is known: install qemu-guest-agent there by hand" 1
    there && said there || said missing ;;
install)
    if ! there; then
        mkdir -p $STATE || said "$STATE cannot be written there" 1
        why=$(install 2>&1) || said "qemu-guest-agent cannot be installed: $(echo "$why" | tail -n 1)" 1
        : >$STATE/agent
    fi
    why=$(start "$2" 2>&1) || said "qemu-guest-agent does not start: $(echo "$why" | tail -n 1)" 1
    said installed ;;
undo)
    [ -e $STATE/agent ] || said "not installed by clockstep"
    why=$(remove 2>&1) || said "qemu-guest-agent cannot be removed: $(echo "$why" | tail -n 1)" 1
    rm -f $STATE/agent
    said removed ;;
esac
