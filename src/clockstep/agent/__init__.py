"""The node agent: a node corrects its own clock, on any hypervisor.

Signals say that something has happened, the hypervisor's clock or the node's time daemon says what time it is, and the
loop corrects the clock as on any other machine. All of it needs the standard library alone.
"""
