## As often as it takes, whatever the correction and the skew, every 0.2 s (chronyc(1)).
timeout 2 chronyc waitsync 0 0 0 0.2 >/dev/null 2>&1
