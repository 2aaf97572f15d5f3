## Sets $unit to the unit of systemd that runs this node's kubelet, and to nothing if a server's does, which is a part of
## the control plane too. `started` prints when it was started last, by the monotonic clock: that is another each time.
of() { systemctl show --property="$2" "$1" 2>/dev/null | sed -n "s/^$2=//p"; }
unit=
for one in kubelet k3s-agent rke2-agent; do
case $(of $one LoadState).$(of $one ActiveState) in
loaded.inactive) ;;
loaded.*) unit=$one ;;
esac
done
# shellcheck disable=SC2034  # whoever includes this uses them
started() { of "$unit" ExecMainStartTimestampMonotonic; }
kept=$1/run/clockstep/kubelets
