"""An Episode on a line, as text or as JSON, by the standard library alone."""

import json
from dataclasses import asdict
from enum import Enum

from clockstep.errors import visible
from clockstep.model import Action, Episode, Offset, Resync, Step, Verdict
from clockstep.render.words import cause_text
from clockstep.units import show_duration, show_moment, show_offset, show_shift


def json_line(episode: Episode) -> str:
    """Return an Episode as a line of JSON, as `clockstep watch -o json` prints it."""
    return json.dumps(asdict(episode), default=_token, ensure_ascii=False, separators=(",", ":"))


def text_line(episode: Episode) -> str:
    """Return when, why, what was found and done, how the clock is now, and what stands against more."""
    found, now = _offset(episode.before), _offset(episode.after)
    done = ", ".join(map(_action, episode.actions))
    after = f", corrected in {show_duration(episode.wrong_for_ns)}" if episode.wrong_for_ns else ""
    did = f"; {done}, now {now}{after}" if done else ""
    bad = [finding for finding in episode.findings if finding.verdict is not Verdict.GOOD]
    said = "".join(f"; {one.text}{f' ({one.remedy})' if one.remedy else ''}" for one in bad)
    head = f"{show_moment(episode.started_at_ns)}  {episode.node}  {cause_text(episode.cause)}"
    return visible(f"{head}: {found}{did}; {episode.verdict.value}{said}")


def _offset(offset: Offset | None) -> str:
    return show_offset(offset.value_ns, offset.error_ns) if offset else "not read"


def _action(action: Action) -> str:
    match action:
        case Step(by_ns, unconfirmed):
            return f"stepped {show_shift(by_ns, 1000)}{' (not confirmed)' if unconfirmed else ''}"
        case Resync(daemon):
            return f"resynced {daemon}"
        case _:
            raise TypeError(f"not an action: {action}")


def _token(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"not in JSON: {value!r}")
