"""What a user can cause: errors with an exit code and advice, printed without a traceback; and what a provider raises."""

from __future__ import annotations

import errno
import re
from typing import Literal


class UserError(Exception):
    """Wrong use or configuration (exit 2). The message says what is wrong and what to do."""

    exit_code = 2


class Busy(UserError):
    """Another process holds the run folder or the ledger (exit 75)."""

    exit_code = 75


class RunFailed(UserError):
    """A stage could not finish for a reason outside the configuration: disk full, server down (exit 1)."""

    exit_code = 1


class ProviderError(Exception):
    """A request that got no answer.

    Args:
        message: what went wrong, with advice.
        kind: ``rate`` (429: all workers wait), ``transient`` (try again), ``item`` (this request will never do), ``run``
            (stop: key, quota, model).
        retry_after: seconds.
        billed: it may have been paid for.
        reason: where more is to be told: ``unsent`` (the server knows nothing of it), ``gone`` (not there: 404, 410),
            ``full`` (no room for a whole batch).
    """

    def __init__(
        self,
        message: str,
        kind: Literal["rate", "transient", "item", "run"],
        *,
        retry_after: float | None = None,
        billed: bool = False,
        reason: Literal["unsent", "gone", "full"] | None = None,
    ) -> None:
        super().__init__(message)
        self.kind, self.retry_after, self.billed, self.reason = kind, retry_after, billed, reason

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with the kind: exceptions are made again from their message alone."""
        more = {"retry_after": self.retry_after, "billed": self.billed, "reason": self.reason}
        return type(self), (str(self), self.kind), more


_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
_ACCESS = (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOENT)
_WRITERS = re.compile(
    r"os error (28|122|27|5|30)\)|PytorchStreamWriter failed writing|inline_container\.cc|disk is full"
)
"""How libraries that write weights say that a disk is full; they raise no OSError."""


def needed(before: str, lines: list[str]) -> UserError:
    """Return the error of what is missing outside a configuration. lines: each says what to do."""
    return UserError(f"needed before {before}:\n" + "\n".join(f"  {line}" for line in lines))


def disk_trouble(error: BaseException) -> str | None:
    """Say what is wrong with disk or files where that is what an error comes from, else return None."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    # Causes may form a ring.
    while cause is not None and cause not in seen:
        seen.append(cause)
        if isinstance(cause, OSError) and cause.errno in (*_DISK, *_ACCESS):
            where = f" ({cause.filename})" if cause.filename else ""
            # A missing file without a name says nothing to a user; a full disk does.
            if where or cause.errno in _DISK:
                return f"{cause.strerror}{where}"
        elif _WRITERS.search(str(cause)):
            return f"the disk is full, or a file grew beyond a limit ({str(cause).strip().splitlines()[0][:120]})"
        cause = cause.__cause__ or cause.__context__
    return None


def did_you_mean(word: str, known: list[str] | tuple[str, ...]) -> str:
    """Return `` Did you mean 'x'?`` for the closest known word, or an empty string.

    word: what was said. known: what could be meant.

    >>> did_you_mean("max_mim", ["max_min", "owa"])
    " Did you mean 'max_min'?"
    """
    import difflib

    close = difflib.get_close_matches(
        word.replace("-", "_"), [name.replace("-", "_") for name in known], n=1, cutoff=0.6
    )
    originals = {name.replace("-", "_"): name for name in known}
    return f" Did you mean '{originals[close[0]]}'?" if close else ""
