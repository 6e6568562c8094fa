"""A code reviewer: one prompt, three tools, and the folder that they may read."""

from __future__ import annotations

from celery import Celery

from wink_tasks import Budget, Wink
from wink_tasks.examples.code_review import tools
from wink_tasks.examples.code_review.models import Review
from wink_tasks.examples.code_review.workspace import Workspace

app = Celery("code_review")
wink = Wink(app, resources={Workspace: Workspace.from_environment})

# They only read: calls that the model asks for together may run side by side.
list_files = wink.tool(parallel=True)(tools.list_files)
read_file = wink.tool(parallel=True)(tools.read_file)
lint = wink.tool(parallel=True)(tools.lint)


@wink.prompt(
    output=Review,
    tools=[list_files, read_file, lint],
    model="offline:reviewer",
    deadline=300,
    budget=Budget(total_tokens=2_000_000),
)
def review(path: str, security: bool = False) -> str:
    """You review Python code. Report only what you have seen in a file or in the linter's answer.

    List the files first. Read each of them, in parts where it is long, and lint it; ask for several files at once.
    Name the line where a defect begins, and say why it matters. Report each defect once, the gravest first, and
    leave out matters of taste. If there is nothing to report, say so.
    """
    return f"Review the code in {path}." + (" Look for security holes." if security else "")
