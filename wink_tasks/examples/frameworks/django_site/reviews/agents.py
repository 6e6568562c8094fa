"""Found by `app.autodiscover_tasks(related_name="agents")`."""

from wink_tasks import ToolError
from wink_tasks.examples.code_review import Review
from wink_tasks.examples.code_review.models import FileList, FileText, LintReport
from wink_tasks.examples.frameworks.django_site.celery import wink
from wink_tasks.examples.frameworks.django_site.reviews.models import Source


@wink.tool
def list_files(path: str) -> FileList:
    """List the files of a project."""
    found = Source.objects.filter(project=path).order_by("name")
    return FileList([str(source) for source in found], more=False)


@wink.tool
def read_file(path: str, lines: int = 400) -> FileText:
    """Read the beginning of a file."""
    project, _, name = path.partition("/")
    source = Source.objects.filter(project=project, name=name).first()
    if source is None:
        raise ToolError(f"there is no file {path!r}: list_files names them")
    every = source.text.splitlines()
    numbered = [f"{number}\t{line}" for number, line in enumerate(every[:lines], 1)]
    return FileText(path, 1, len(numbered), len(every), "\n".join(numbered))


@wink.tool
def lint(path: str) -> LintReport:
    """There is no linter here."""
    return LintReport(path, [], more=False)


@wink.prompt(output=Review, tools=[list_files, read_file, lint], model="offline:reviewer")
def review(project: str) -> str:
    """You review Python code. Report only what you have seen in a file."""
    return f"Review the code in {project}."
