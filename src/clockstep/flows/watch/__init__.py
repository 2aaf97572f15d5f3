"""Watching machines until told to stop: whoever reverts, resumes or wakes them, their clocks are corrected.

Events say at once that something happened; a sweep finds what no event told of. One thread takes in all of it and goes
by the table in `core/events.py`; each machine is worked on by a thread of its own, one at a time, so that one that
hangs delays nobody.
"""
