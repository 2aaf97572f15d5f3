"""libvirt: domains, snapshots, events, and the agent's channel."""
