"""The example application: `WINK_APP=wink_tasks.examples.code_review:wink`."""

from wink_tasks.examples.code_review.agents import app, review, wink
from wink_tasks.examples.code_review.models import Finding, Plan, Report, Review, Severity
from wink_tasks.examples.code_review.workspace import Reports, Reviewed

__all__ = ["Finding", "Plan", "Report", "Reports", "Review", "Reviewed", "Severity", "app", "review", "wink"]
