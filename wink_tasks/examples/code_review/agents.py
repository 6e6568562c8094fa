"""A code reviewer: one prompt, three tools that read, one that writes, and two slices that tell how far it is."""

from __future__ import annotations

from celery import Celery

from wink_tasks import Budget, SqlTransaction, Wink
from wink_tasks.examples.code_review import recording, tools
from wink_tasks.examples.code_review.models import Finding, FindingsRecorded, Plan, Review, recorded
from wink_tasks.examples.code_review.workspace import Reports, Reviewed

app = Celery("code_review")
wink = Wink(app)

wink.resources.bind(Reviewed, Reviewed.from_environment)
wink.resources.bind(Reports, Reports.from_environment)
wink.resources.bind(SqlTransaction, recording.findings_database)

wink.slices.event(FindingsRecorded)
wink.slices.install(Plan, initial=Plan)
wink.slices.register(Finding, {FindingsRecorded: recorded})

# They only read: calls that the model asks for together may run side by side.
list_files = wink.tool(parallel=True)(tools.list_files)
read_file = wink.tool(parallel=True)(tools.read_file)
lint = wink.tool(parallel=True)(tools.lint)
record_findings = wink.tool(recording.record_findings)


@wink.prompt(
    output=Review,
    tools=[list_files, read_file, lint, record_findings],
    model="offline:reviewer",
    deadline=300,
    budget=Budget(total_tokens=2_000_000),
)
def review(path: str, security: bool = False) -> str:
    """You review Python code. Report only what you have seen in a file or in the linter's answer.

    List the files first. Read each of them, in parts where it is long, and lint it; ask for several files at once.
    Name the line where a defect begins, and say why it matters. Report each defect once, the gravest first, and
    leave out matters of taste. Record what you found before you answer. If there is nothing to report, say so.
    """
    return f"Review the code in {path}." + (" Look for security holes." if security else "")
