"""The example application: `WINK_APP=wink_tasks.examples.code_review:wink`."""

from wink_tasks.examples.code_review.agents import app, review, wink
from wink_tasks.examples.code_review.models import Finding, Review, Severity
from wink_tasks.examples.code_review.workspace import Workspace

__all__ = ["Finding", "Review", "Severity", "Workspace", "app", "review", "wink"]
