"""The loop: look, judge, act, look again; and one job on many nodes at once.

`prove` returns as soon as a node's clock is proven, or cannot be. `settle` then brings its time daemon along. Success
is never what a command answered: it is several fresh readings in a row, taken after it, in a way that does not trust
the daemon.
"""
