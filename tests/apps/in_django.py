"""What a prompt does inside of a Django project, as one document; run as a script."""

from __future__ import annotations

import json

from wink_tasks import ToolError
from wink_tasks.cli.options import application
from wink_tasks.core.delivery import Message
from wink_tasks.examples.frameworks.django_site.celery import app, wink
from wink_tasks.ports.work import StepEnd
from wink_tasks.testing import answer, scripted

with application("wink_tasks.examples.frameworks.django_site.celery:wink") as found:
    discovered = sorted(found.registry.prompts)

from django.core.cache import caches
from django.core.management import call_command
from django.db import connection, transaction

from wink_tasks.examples.code_review import Review
from wink_tasks.examples.frameworks.django_site.reviews.agents import read_file, review


class Unwanted(Exception):  # noqa: N818 - not an error
    """Rolls back."""


def started() -> list[str]:
    """The runs that were accepted."""
    return [record.session for record in wink.house().store.ledger.sessions()]


step = Message(
    id="r~turn2", kind="turn", mailbox="turns", task="django_site.review:turn", tenant="t", session="s", evaluation="r"
)
seen: dict[str, object] = {"discovered": discovered, "task_class": app.Task.__mro__[1].__name__}
with scripted(wink, {review: lambda _: answer(Review(summary="fine", findings=[], files_read=[]))}):
    with transaction.atomic():
        review.delay_on_commit("one")
        review.apply_async_on_commit(kwargs={"project": "two"}, task_id="two")
        review.with_options(session="three").delay_on_commit("three")
        seen["inside"] = started()
    seen["after"] = len(started())
    seen["named"] = sorted(name for name in started() if name in ("two", "three"))
    try:
        with transaction.atomic():
            review.delay_on_commit("four")
            raise Unwanted  # noqa: TRY301 - that is what rolls back
    except Unwanted:
        seen["rolled back"] = len(started())
    call_command("migrate", run_syncdb=True, verbosity=0)
    try:
        read_file("one/none.py")
    except ToolError as error:
        seen["no file"] = str(error)
    for name, told in (
        ("began", lambda: wink.events.began(step)),
        ("ended", lambda: wink.events.ended(step, 1.0, StepEnd(kind="settled"))),
    ):
        connection.ensure_connection()
        told()
        seen[name] = connection.connection is None

    class Broken:
        """A cache whose server went away."""

        def close(self) -> None:
            raise OSError("gone")

    caches["default"] = Broken()
    wink.events.began(step)
print(json.dumps(seen))  # noqa: T201 - a script
