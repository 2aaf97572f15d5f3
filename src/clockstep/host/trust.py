"""Whether files are to be believed: by whom they are owned, and who else may write them."""

import grp
import os
import pwd
import stat
from collections.abc import Collection, Iterable
from pathlib import Path

ROOT = 0


def caller() -> set[int]:
    """Return the user IDs of whoever calls: for root by sudo(8) also that of the user who has become root."""
    uid, before = os.geteuid(), os.environ.get("SUDO_UID", "")
    return {uid, int(before)} if uid == ROOT and before.isdecimal() else {uid}


def objection(paths: Iterable[Path], owners: Collection[int]) -> str:
    """Return why these are not to be believed: that somebody but root and these owns one, or may write there.

    Empty where nobody may. What is not there is passed over; a group counts if it has other members.
    """
    for path in paths:
        try:
            there = path.stat()
        except FileNotFoundError:
            continue
        if there.st_uid not in {ROOT, *owners}:
            return f"{path} belongs to {_account(there.st_uid)}"
        if there.st_mode & stat.S_IWOTH:
            return f"{path} may be written by everybody"
        if there.st_mode & stat.S_IWGRP and (others := _others(there.st_gid, owners)):
            return f"{path} may be written by {', '.join(others)}"
    return ""


def _account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"the account {uid}"


def _others(gid: int, owners: Collection[int]) -> list[str]:
    """Return the members of a group but for root and these."""
    try:
        listed = grp.getgrgid(gid).gr_mem
    except KeyError:
        listed = []
    members = {*listed, *(entry.pw_name for entry in pwd.getpwall() if entry.pw_gid == gid)}
    return sorted(members - {_account(uid) for uid in (ROOT, *owners)})
