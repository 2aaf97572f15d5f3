"""The loop: observe, judge, act, look again; and one job on many nodes at once."""
