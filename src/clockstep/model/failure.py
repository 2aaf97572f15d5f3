"""The error that ended a command, as `-o json` prints it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, what to do about it, and what the process ends with."""

    message: str
    hint: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """What every command prints instead of its record if an error ends it."""

    error: Failure
    schema_version: int = 2
