# Whether the kernel tells of a fork of this machine: its driver of the VM generation ID has found one.
tells_of_forks() {
    for one in "${ROOT-}"/sys/bus/*/drivers/vmgenid/*/; do
        case $one in */module/|*'*/') ;; *) return 0 ;; esac
    done
    return 1
}
