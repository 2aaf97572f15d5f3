## Who one is there, and which machine that is: only root may read the UUID that the firmware has of the hypervisor.
user=$(id -u)
echo "$user"
machine='cat /sys/class/dmi/id/product_uuid 2>/dev/null'
if [ "$user" = 0 ]; then eval "$machine"; else sudo -n /bin/sh -c "echo sudo; $machine"; fi
true
