[ -e /run/clockstep/freezer/cgroups ]
