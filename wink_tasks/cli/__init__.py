"""The `wink` command: what it prints when something is wrong, and how it exits."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from wink_tasks.core.errors import WinkError

WRONG = 1
CALLERS_FAULT = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line (None: the process's) and exit.

    0 is success, 2 what the caller can mend (also wrong usage), 1 anything else that went wrong, 130 Ctrl-C.
    """
    from wink_tasks.cli.commands import wink

    try:
        wink(arguments)
    except WinkError as error:
        sys.stderr.write(f"wink: {error}\n")
        sys.exit(CALLERS_FAULT if error.fault == "caller" else WRONG)
