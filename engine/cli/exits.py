"""How a command ends: the exit codes, and the one handler that gives every exception its code.

The codes are never reused for something else.
"""

from __future__ import annotations

import sys
import traceback

import typer

from engine.cli import output
from engine.problems import ProblemError

OK = 0  #: all is fine
PROBLEMS = 1  #: what a person wrote has problems; they were printed
USAGE = 2  #: the command line asks for something that there is not
RUN_FAILED = 3  #: a run failed
BUG = 4  #: a mistake in Hotwash itself
INTERRUPTED = 130  #: stopped by Ctrl-C, as shells count it

#: Typer's own errors, named without the package that Typer takes them from, which depends on its version.
_ClickError: type[Exception] = typer.BadParameter.__mro__[2]


class CommandError(Exception):
    """The command cannot do what was asked; the text says why and `hint` what to do about it."""

    def __init__(self, message: str, *, hint: str | None = None, code: int = USAGE) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


class RunFailed(Exception):
    """A run that the command waited for has failed; the text says which, and where."""


def report(error: BaseException) -> int:
    """Tell the person what went wrong, on stderr, and give the exit code."""
    if isinstance(error, ProblemError):
        output.problems(error.problems, file=sys.stderr)
        return PROBLEMS
    if isinstance(error, CommandError):
        output.failure(str(error), error.hint)
        return error.code
    if isinstance(error, RunFailed):
        output.failure(str(error))
        return RUN_FAILED
    if isinstance(error, _ClickError):
        error.show()  # type: ignore[attr-defined]
        return USAGE
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return INTERRUPTED
    if _is_of_storage(error):
        hint = "see that there is space and that you may write there; nothing that was accepted is lost"
        output.failure(f"the database cannot be used: {error}", hint)
        return PROBLEMS
    output.failure(f"this is a mistake in Hotwash: {type(error).__name__}", "please report it with the lines below")
    traceback.print_exception(error, file=sys.stderr)
    return BUG


def _is_of_storage(error: BaseException) -> bool:
    from engine.store.journal import StorageUnavailable, unavailable

    return isinstance(error, StorageUnavailable) or unavailable(error)
