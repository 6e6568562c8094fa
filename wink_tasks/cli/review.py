"""What the demo prints of a review, and what a newcomer may try after it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from typing import Final

from rich.console import Console
from rich.text import Text

from wink_tasks.cli.printing import print_table
from wink_tasks.cli.up import exports
from wink_tasks.examples.code_review.models import Review, Severity

_COLOURS: Final[Mapping[Severity, str]] = {"high": "red", "medium": "yellow", "low": "dim"}


def print_review(out: Console, review: Review) -> None:
    """The summary, and a row a finding."""
    if review.findings:
        rows = ((one.file, one.line, _coloured(one.severity), one.title) for one in review.findings)
        print_table(out, ("file", "line", "severity", "finding"), rows)
    out.out(review.summary)


def _coloured(severity: Severity) -> Text:
    return Text(severity, style=_COLOURS[severity])


def what_next(run: str, session: str, *, app: str, url: str) -> str:
    """Commands that work as they stand, in the folder where the demo ran."""
    wink = "wink" if shutil.which("wink") else os.path.relpath(sys.argv[0])
    return "\n".join(
        [
            "",
            "What to try next:",
            f"  {wink} up                        # the server again, with all that happened; then, in another shell:",
            f"  {exports(url)} WINK_APP={app}",
            f"  {wink} runs show {run}",
            f"  {wink} sessions show {session}",
            f"  {wink} demo path/to/your/code    # another folder",
            f"  {wink} demo --model openai:gpt-5-mini    # a language model, with OPENAI_API_KEY",
        ]
    )
