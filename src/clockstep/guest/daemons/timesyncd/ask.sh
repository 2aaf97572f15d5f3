## Asked without `is-active`, a timesyncd that was stopped would be started: D-Bus activates it.
systemctl is-active --quiet systemd-timesyncd 2>/dev/null && timeout 2 timedatectl show-timesync 2>/dev/null
