"""The one exception that the command line turns into a single line and exit status 2."""

from __future__ import annotations


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one line that says what is wrong, with which file, and what to do. Commands print it to
    standard error and exit with status 2; everything else that is raised is a defect of ours.
    """

    def __init__(self, message: str) -> None:
        # A file name may hold bytes that are no text, which no terminal or page takes.
        super().__init__(" ".join(message.encode("utf-8", "backslashreplace").decode("utf-8").split()))
