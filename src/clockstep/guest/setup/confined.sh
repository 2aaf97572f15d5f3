# Whether SELinux keeps whoever runs this there, the guest agent, from most of it; $label is what it calls that.
confined() {
    label=$(tr -d '\0' <"$ROOT/proc/self/attr/current" 2>/dev/null)
    [ "$(cat "$ROOT/sys/fs/selinux/enforce" 2>/dev/null)" = 1 ] || return 1
    case $label in *:virt_qemu_ga_t:*) ;; *) return 1 ;; esac
}
