"""The one error the lab shows to a person."""


class LabError(Exception):
    """Something the lab can't do, in one line, with what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
