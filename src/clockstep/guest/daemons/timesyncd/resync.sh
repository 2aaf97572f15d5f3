## It measures at its start and steps what is left (manager_adjust_clock in systemd's timesyncd-manager.c).
systemctl restart systemd-timesyncd
