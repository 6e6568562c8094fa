"""Durable tasks, and tools alone: every way in which a run of one may go."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest
from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded
from msgspec import structs

from tests.unit.runtime.conftest import NoProvider, Note, Shop
from wink_tasks import (
    CancelledError,
    DeadLetteredError,
    DeadlineExceededError,
    DeclarationError,
    LeaseLostError,
    LedgerUnavailableError,
    NotCallableError,
    OutcomeUnknownError,
    ParametersInvalidError,
    ParamsChangedError,
    PayloadTooLargeError,
    RetryLaterError,
    TaskFailedError,
    ToolContext,
    ToolError,
    UnsupportedError,
)
from wink_tasks.core.delivery import LONGEST_CHECKPOINT
from wink_tasks.core.errors import LedgerFormatError, ValueInvalidError
from wink_tasks.core.events import EvaluationFailed, StepDied, ToolReturned
from wink_tasks.core.transcript import ToolAnswered
from wink_tasks.ports.mailbox import Address, Claimed
from wink_tasks.runtime.stop import Stop
from wink_tasks.runtime.task import work_task
from wink_tasks.runtime.work import Postponed, Worked
from wink_tasks.testing import answer, call, scripted, tool_context

BEYOND_A_LEASE = 11


class Works(Shop):
    """Tasks, what they did, and what they are told to raise."""

    def __init__(self, **choices):
        super().__init__(**choices)
        self.raises: list[BaseException] = []
        task = self.wink.task

        @task
        def add(a: int, b: int = 1) -> int:
            """Add."""
            self.done.append(f"add {a} {b}")
            return a + b

        @task(max_retries=2, retry_on=[ConnectionError])
        def send(ctx: ToolContext, to: str) -> Note:
            self.done.append(f"send {to} {ctx.delivery_count} {ctx.checkpointed}")
            if self.raises:
                raise self.raises.pop(0)
            return Note(to)

        @task(max_retries=0, retry_on=[ConnectionError])
        def once(ctx: ToolContext, to: str) -> str:
            self.done.append(f"once {to} {ctx.delivery_count}")
            if self.raises:
                raise self.raises.pop(0)
            return to

        self.add, self.send, self.once = add, send, once

    def claim(self, handle, run) -> Claimed:
        """Have another worker, which is lost soon, take the run."""
        mailbox = self.wink.house().store.mailbox
        claimed = mailbox.claim(
            Address(run.tenant, run.session.id, run.id), task=handle.task_name, owner="lost", after=None
        )
        assert isinstance(claimed, Claimed)
        return claimed


@pytest.fixture
def shop() -> Works:
    return Works(providers={"house": NoProvider()})


def names(run) -> list[str]:
    return [type(record.event).__name__ for record in run.events()]


# what comes of it


def test_a_task_is_an_evaluation_of_one_step(shop: Works):
    with scripted(shop.wink, {}):
        run = shop.add.delay(2, b=3)
        assert (run.get(), run.status, shop.done) == (5, "SUCCESS", ["add 2 3"])
        assert names(run) == ["EvaluationAccepted", "EvaluationSucceeded"]
        accepted = next(run.events()).event
        assert (accepted.prompt, accepted.params, accepted.terms.models) == ("shop.add", {"a": 2, "b": 3}, ())
        assert (run.session.id, run.explain(), run.usage().requests) == (run.id, "succeeded", 0)
        assert shop.add.apply_async([1]).get() == 2
        assert shop.app.tasks["shop.add"].delay(1).get() == 2
        assert shop.add.s(4).delay().get() == 5
        assert shop.wink.house().store.ledger.message("default", run.id, run.id).kind == "task"


def test_a_result_goes_to_the_slice_of_its_type(shop: Works):
    with scripted(shop.wink, {shop.chat: [answer("ok")]}):
        assert shop.send.with_options(session="s").delay("ann").get() == Note("ann")
        assert shop.chat.with_options(session="s").delay("hi").get() == "ok"
        assert shop.wink.session("s")[Note].latest() == Note("ann")
        assert len(shop.wink.session("s").transcript) == 2


def test_a_declared_function_is_still_a_function(shop: Works):
    assert shop.add(2) == 3
    assert shop.send(tool_context(checkpointed=4), "ann") == Note("ann")
    assert shop.done == ["add 2 1", "send ann 1 4"]
    assert (shop.add.__doc__, repr(shop.add), shop.add.name) == ("Add.", "<task shop.add>", "shop.add")
    with pytest.raises(NotCallableError):
        shop.app.tasks["shop.add"](1)


def test_async_tasks(shop: Works):
    @shop.wink.task
    async def double(n: int) -> int:
        return 2 * n

    @shop.wink.task(deadline=0.01)
    async def sleeper() -> int:
        return await asyncio.Event().wait()

    with scripted(shop.wink, {}):
        assert double.delay(4).get() == 8
        with pytest.raises(DeadlineExceededError, match="passed while it ran"):
            sleeper.delay().get()


def test_apply_needs_no_redis(shop: Works):
    assert shop.add.apply([2]).get() == 3


def test_what_a_function_raises_ends_its_run(shop: Works, caplog: pytest.LogCaptureFixture):
    shop.raises = [KeyError("password=hunter2 was wrong")]
    with scripted(shop.wink, {}):
        run = shop.send.delay("ann")
        with pytest.raises(TaskFailedError, match="KeyError: ") as caught:
            run.get()
        assert (run.status, len(shop.done), caught.value.code) == ("FAILURE", 1, "TaskFailedError")
        failed = [record.event for record in run.events()][-1]
        assert "in send" in failed.traceback
        assert "hunter2" not in failed.traceback + failed.message + caplog.text
        assert "in send" in caplog.text


def test_a_task_may_raise_tool_error_and_exit(shop: Works):
    shop.raises = [ToolError("not for a model"), SystemExit(3)]
    with scripted(shop.wink, {}):
        for words in ("ToolError: not for a model", "SystemExit: 3"):
            with pytest.raises(TaskFailedError, match=words):
                shop.send.delay("ann").get()


def test_a_result_that_does_not_fit_or_is_too_large(shop: Works):
    @shop.wink.task
    def liar() -> int:
        return "text"

    @shop.wink.task
    def glutton() -> str:
        return "x" * 1_100_000

    with scripted(shop.wink, {}):
        with pytest.raises(TaskFailedError, match=r"ValueInvalidError: task 'shop\.liar', result"):
            liar.delay().get()
        with pytest.raises(PayloadTooLargeError, match=r"task 'shop\.glutton' returned 11\d+ bytes"):
            glutton.delay().get()


# again


def test_what_is_in_retry_on_is_delivered_again_after_a_growing_pause(shop: Works):
    shop.raises = [ConnectionError("away"), ConnectionError("away")]
    with scripted(shop.wink, {}) as kit:
        began, run = kit.clock.now(), shop.send.delay("ann")
        assert "is delayed for 1 s more, last error: ConnectionError: away" in run.explain()
        assert (run.get(), kit.clock.now() - began) == (Note("ann"), 0.75 + 1.5)
        assert shop.done == ["send ann 1 None", "send ann 2 None", "send ann 3 None"]


def test_out_of_retries_is_a_dead_letter(shop: Works):
    shop.raises = [ConnectionError("away")] * 3
    with scripted(shop.wink, {}):
        run = shop.send.delay("ann")
        with pytest.raises(DeadLetteredError, match=r"3 deliveries did not .*last error: ConnectionError: away"):
            run.get()
        assert shop.wink.house().store.ledger.message("default", run.id, run.id).state == "dead"


def test_celerys_words_for_backoff(shop: Works):
    @shop.wink.task(autoretry_for=(OSError,), retry_backoff=5, retry_backoff_max=8, retry_jitter=False)
    def flaky() -> str:
        if shop.raises:
            raise shop.raises.pop(0)
        return "done"

    shop.raises = [OSError("1"), OSError("2"), OSError("3")]
    with scripted(shop.wink, {}) as kit:
        began = kit.clock.now()
        assert flaky.delay().get() == "done"
        assert kit.clock.now() - began == 5 + 8 + 8


def test_a_function_asks_to_be_delivered_again(shop: Works):
    @shop.wink.task(max_retries=5)
    def poll(ctx: ToolContext) -> int:
        try:
            if shop.raises:
                raise shop.raises.pop(0)
        except OSError as error:
            raise ctx.retry(countdown=7, max_retries=2) from error
        if ctx.delivery_count == 1:
            ctx.retry()
        return ctx.delivery_count

    with scripted(shop.wink, {}) as kit:
        began = kit.clock.now()
        assert poll.delay().get() == 2
        assert kit.clock.now() - began == 0.75
        shop.raises = [OSError("away")]
        assert poll.delay().get() == 2
        assert kit.clock.now() - began == 7.75
        shop.raises = [OSError("away")] * 3
        with pytest.raises(TaskFailedError, match="OSError: away"):
            poll.delay().get()
        assert kit.clock.now() - began == 7.75 + 14


def test_retry_remembers_what_was_wrong():
    with pytest.raises(RetryLaterError, match="asks to be delivered again") as asked:
        tool_context().retry(exc=ValueError("x"), countdown=3)
    assert (asked.value.delay, repr(asked.value.__cause__)) == (3, "ValueError('x')")
    assert asked.value.retryable


# Celery's words


def in_two_minutes() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=120)


@pytest.mark.parametrize(
    ("raised", "pause"),
    [
        (lambda _: Retry(exc=OSError("away"), when=30), 30),
        (lambda _: Retry(when=in_two_minutes()), 120),
        (lambda _: Retry(when=in_two_minutes().replace(tzinfo=None)), 120),
        (lambda _: Reject("not now", requeue=True), 0.75),
        (lambda task: raised_by(task.retry), 180),
        (lambda task: raised_by(task.retry, countdown=9, exc=OSError("away"), throw=True), 9),
        (lambda task: raised_by(task.retry, eta=in_two_minutes(), max_retries=1), 120),
    ],
)
def test_celerys_words_for_again(shop: Works, raised, pause: float):
    shop.raises = [raised(shop.send.task)]
    with scripted(shop.wink, {}) as kit:
        began = kit.clock.now()
        assert shop.send.delay("ann").get() == Note("ann")
        assert kit.clock.now() - began == pytest.approx(pause, abs=5)
        assert len(shop.done) == 2


def raised_by(function, **options) -> BaseException:
    try:
        function(**options)
    except Retry as error:
        return error
    raise AssertionError(function)


def test_celerys_retry_fails_with_its_cause_beyond_its_own_number(shop: Works):
    shop.raises = [raised_by(shop.send.task.retry, countdown=1, exc=OSError("away"), max_retries=0)]
    with scripted(shop.wink, {}), pytest.raises(TaskFailedError, match="OSError: away"):
        shop.send.delay("ann").get()
    shop.raises = [raised_by(shop.send.task.retry, countdown=1, max_retries=0)]
    with scripted(shop.wink, {}), pytest.raises(TaskFailedError, match="RetryLaterError"):
        shop.send.delay("ann").get()


def test_celerys_retry_cannot_change_the_run(shop: Works):
    for changes in ({"kwargs": {"to": "bob"}}, {"queue": "slow"}, {"throw": False}):
        with pytest.raises(UnsupportedError, match="retry\\(\\) cannot change " + next(iter(changes))):
            shop.send.task.retry(**changes)
    with pytest.raises(UnsupportedError, match="cannot change \\('bob',\\)"):
        shop.send.task.retry(("bob",))
    with pytest.raises(UnsupportedError, match="cannot replace itself"):
        shop.send.task.replace(shop.add.s(1))


def test_reject_is_a_dead_letter_at_once(shop: Works):
    shop.raises = [Reject("poison")]
    with scripted(shop.wink, {}):
        run = shop.send.delay("ann")
        with pytest.raises(DeadLetteredError, match="is a dead letter: rejected; last error: poison"):
            run.get()
        assert len(shop.done) == 1


def test_ignore_ends_the_run_with_nothing(shop: Works):
    shop.raises = [Ignore()]
    with scripted(shop.wink, {}):
        run = shop.send.delay("ann")
        assert (run.get(), run.status) == (None, "SUCCESS")


def test_a_soft_time_limit_fails_unless_it_is_retried(shop: Works):
    @shop.wink.task(retry_on=[TimeoutError])
    def patient() -> str:
        if shop.raises:
            raise shop.raises.pop(0)
        return "done"

    with scripted(shop.wink, {}):
        shop.raises = [SoftTimeLimitExceeded()]
        with pytest.raises(TaskFailedError, match="SoftTimeLimitExceeded"):
            shop.send.delay("ann").get()
        shop.raises = [SoftTimeLimitExceeded()]
        assert patient.delay().get() == "done"


def test_celerys_words_in_a_tool(shop: Works):
    @shop.wink.tool
    def picky(ctx: ToolContext, what: str) -> str | None:
        """Be picky."""
        if what == "reject":
            raise Reject("no")
        if what == "ignore":
            raise Ignore
        if ctx.delivery_count == 1:
            ctx.retry(countdown=3)
        return f"{what} {ctx.delivery_count}"

    @shop.wink.prompt(output=str, tools=[picky], model="house:m")
    def picker() -> str:
        """You pick."""
        return "go"

    script = [*(call(picky, what=what) for what in ("reject", "ignore", "retry")), answer("ok")]
    with scripted(shop.wink, {picker: script}) as kit:
        assert picker.delay().get() == "ok"
        told = [item for item in kit.requests[-1].items if isinstance(item, ToolAnswered)]
        assert [(item.value, item.failed) for item in told] == [
            ("The tool died.", True),
            (None, False),
            ("retry 2", False),
        ]


# limits


def test_countdown_expires_and_deadline(shop: Works):
    with scripted(shop.wink, {}) as kit:
        began = kit.clock.now()
        assert shop.add.with_options(countdown=5).delay(1).get() == 2
        assert shop.add.with_options(eta=datetime.fromtimestamp(began + 9, UTC)).delay(1).get() == 2
        assert kit.clock.now() == began + 9
        late = shop.add.with_options(countdown=50, expires=5).delay(1)
        with pytest.raises(CancelledError, match="expired before it started"):
            late.get()
        moment = datetime.fromtimestamp(kit.clock.now() + 3, UTC)
        with pytest.raises(DeadlineExceededError, match="passed before delivery 1"):
            shop.add.with_options(countdown=50, deadline=moment).delay(1).get()
        assert len(shop.done) == 2


def test_what_expires_while_it_is_worked_on_does_not_expire(shop: Works):
    shop.raises = [ConnectionError("away")]
    with scripted(shop.wink, {}):
        assert shop.send.with_options(expires=0.5).delay("ann").get() == Note("ann")


def test_what_was_brought_by_its_deadline_is_late_also_where_the_workers_clock_is_behind(shop: Works):
    with scripted(shop.wink, {}) as kit:
        at = kit.clock.now() + 60
        run = shop.add.with_options(countdown=50, deadline=datetime.fromtimestamp(at, UTC)).delay(1)
        kit.clock.advance(50)
        claimed = structs.replace(shop.claim(shop.add, run), started_at=at)
        worked = work_task(shop.wink.house().parts, claimed, Stop())
        assert (worked.end.code, shop.done) == ("DeadlineExceededError", [])


def test_a_retry_is_not_put_off_beyond_the_deadline(shop: Works):
    @shop.wink.task(deadline=20)
    def slow(ctx: ToolContext) -> str:
        ctx.retry(countdown=100)

    with scripted(shop.wink, {}) as kit:
        began = kit.clock.now()
        with pytest.raises(DeadlineExceededError, match="passed before delivery 2"):
            slow.delay().get()
        assert kit.clock.now() == began + 20


@pytest.mark.parametrize(
    ("passes", "cancelled", "result"),
    [(0, False, Postponed), (0, True, Worked(cut=True)), (30, False, "DeadlineExceededError")],
)
def test_a_task_that_asks_whether_to_go_on(shop: Works, passes: float, cancelled: bool, result):
    stop = Stop()

    @shop.wink.task(deadline=20)
    def asks(ctx: ToolContext) -> str:
        ctx.check()
        kit.clock.advance(passes)
        stop.set("cancelled" if cancelled else "limit")
        ctx.check()
        return "went on"

    with scripted(shop.wink, {}) as kit:
        run = asks.with_options(countdown=1).delay()
        kit.clock.advance(1)
        worked = work_task(shop.wink.house().parts, shop.claim(asks, run), stop)
    if result is Postponed:
        assert (worked.counts, worked.error) == (True, "stopped after 0.0 s")
    elif isinstance(result, Worked):
        assert worked == result
    else:
        assert worked.end.code == result


def test_options_that_only_a_model_understands_are_refused(shop: Works):
    with scripted(shop.wink, {}):
        with pytest.raises(ParametersInvalidError, match=r"task 'shop\.add' asks no model, so it takes no model$"):
            shop.add.with_options(model="house:m").delay(1)
        with pytest.raises(ParametersInvalidError, match="a: Input should be a valid integer"):
            shop.add.delay("one")
        assert not shop.wink.house().store.ledger.sessions()


# workers that are lost


def test_a_checkpoint_is_where_the_next_delivery_goes_on(shop: Works):
    with scripted(shop.wink, {}) as kit:
        run = shop.send.with_options(countdown=1).delay("ann")
        kit.clock.advance(1)
        lost = shop.claim(shop.send, run)
        mailbox = shop.wink.house().store.mailbox
        mailbox.checkpoint(lost.receipt, {"row": 1})
        mailbox.checkpoint(lost.receipt, {"row": 2})
        kit.clock.advance(BEYOND_A_LEASE)
        assert run.get() == Note("ann")
        assert shop.done == ["send ann 2 {'row': 2}"]


def test_a_context_keeps_checkpoints_in_the_mailbox(shop: Works):
    @shop.wink.task
    def counts(ctx: ToolContext) -> int:
        ctx.checkpoint((ctx.checkpointed or 0) + 1)
        if ctx.delivery_count < 3:
            ctx.retry(countdown=0)
        return ctx.checkpointed

    with scripted(shop.wink, {}):
        assert counts.delay().get() == 2


def test_a_checkpoint_of_a_lost_lease_says_so(shop: Works, caplog: pytest.LogCaptureFixture):
    @shop.wink.task
    def zombie(ctx: ToolContext) -> int:
        if ctx.delivery_count == 1:
            kit.clock.advance(BEYOND_A_LEASE)
            newer.append(shop.claim(zombie, shop.wink.run(ctx.run_id)))
            with pytest.raises(LeaseLostError):
                ctx.checkpoint("mine")
            ctx.checkpoint("mine")
        return ctx.delivery_count

    newer: list[Claimed] = []
    with scripted(shop.wink, {}) as kit, caplog.at_level(logging.WARNING):
        run = zombie.delay()
        assert run.status == "STARTED"
        assert "does not count: cannot checkpoint message" in caplog.text
        assert newer[0].checkpoint is None
        kit.clock.advance(BEYOND_A_LEASE)
        assert run.get() == 3


@pytest.mark.parametrize("value", [object(), "\ud800", float], ids=["object", "surrogate", "class"])
def test_a_checkpoint_is_json(value):
    with pytest.raises(ValueInvalidError, match="checkpoint: it is no JSON"):
        tool_context().checkpoint(value)


def test_a_checkpoint_has_a_bound():
    kept: list[str] = []
    fits = "x" * (LONGEST_CHECKPOINT - 2)
    tool_context(keep=kept.append).checkpoint(fits)
    assert kept == [fits]
    with pytest.raises(PayloadTooLargeError, match="65537 bytes; 65536 are kept"):
        tool_context(keep=kept.append).checkpoint(fits + "x")
    tool_context().checkpoint(None)


def test_what_runs_at_most_once_is_not_run_by_a_second_delivery(shop: Works):
    with scripted(shop.wink, {}) as kit:
        run = shop.once.with_options(countdown=1).delay("ann")
        kit.clock.advance(1)
        shop.claim(shop.once, run)
        kit.clock.advance(BEYOND_A_LEASE)
        with pytest.raises(OutcomeUnknownError, match="runs at most once"):
            run.get()
        assert (shop.done, run.status) == ([], "FAILURE")
        assert names(run)[1:] == ["StepDied", "EvaluationFailed"]


def test_what_runs_at_most_once_may_be_given_back_before_it_begins(shop: Works):
    with scripted(shop.wink, {}) as kit:
        run = shop.once.with_options(countdown=1).delay("ann")
        kit.clock.advance(1)
        claimed = shop.claim(shop.once, run)
        shop.wink.house().store.mailbox.nack(claimed.receipt, delay=1, counts=False, error="postponed")
        assert (run.get(), shop.done) == ("ann", ["once ann 2"])


@pytest.mark.parametrize(
    ("raised", "ends"), [(ConnectionError("away"), DeadLetteredError), (ValueError("bad"), TaskFailedError)]
)
def test_what_runs_at_most_once_and_raised_is_not_unknown(shop: Works, raised, ends):
    shop.raises = [raised]
    with scripted(shop.wink, {}), pytest.raises(ends, match=str(raised)):
        shop.once.delay("ann").get()
    assert len(shop.done) == 1


def test_a_model_is_told_that_an_outcome_is_unknown(shop: Works):
    @shop.wink.tool(max_retries=0)
    def pay(amount: int) -> str:
        """Pay."""
        shop.done.append(f"pay {amount}")
        raise LedgerUnavailableError("away")

    @shop.wink.prompt(output=str, tools=[pay], model="house:m")
    def payer() -> str:
        """You pay."""
        return "go"

    with scripted(shop.wink, {payer: [call(pay, amount=3), answer("I do not know")]}) as kit:
        run = payer.delay()
        assert run.get() == "I do not know"
        assert shop.done == ["pay 3"]
        told = kit.requests[-1].items[-1]
        assert (told.value, told.failed) == (
            "It is not known whether this call did its work: its worker was lost, and it is not run again.",
            True,
        )
        [died] = [record.event for record in run.events() if isinstance(record.event, StepDied)]
        assert died.code == "OutcomeUnknownError"
        assert run.evaluation().tool_failures == 0


# tools alone


def test_a_tool_alone_is_a_run_in_a_session_of_its_own(shop: Works):
    seen: list[ToolContext] = []

    @shop.wink.tool(inline=True)
    def peek(ctx: ToolContext, path: str) -> Note:
        """Peek."""
        seen.append(ctx)
        return Note(path)

    with scripted(shop.wink, {shop.chat: [call(shop.note, text="in a prompt"), answer("ok")]}):
        run = peek.delay(path="a.py")
        assert (run.get(), run.session.id, run.status) == (Note("a.py"), run.id, "SUCCESS")
        assert (dict(seen[0].params), seen[0].run_id, seen[0].idempotency_key) == ({}, run.id, run.id)
        assert peek.with_options(session="s").apply_async(kwargs={"path": "b"}).get() == Note("b")
        assert peek(tool_context(), "c") == Note("c")
        inside = shop.chat.delay("x")
        assert inside.get() == "ok"
        assert any(isinstance(record.event, ToolReturned) for record in inside.events())
        assert shop.note.delay(text="alone").get() == Note("alone")
        assert shop.done == ["note in a prompt", "note alone"]
        with pytest.raises(TaskFailedError, match="ToolError: that is not worth noting"):
            shop.note.delay(text="bad").get()
        with pytest.raises(ParametersInvalidError, match="text"):
            shop.note.delay(words="bad")


def test_a_tool_alone_is_measured_as_a_tool(shop: Works):
    counted = []

    class Metrics:
        def counter(self, name, value, labels=None):
            counted.append((name, labels))

        gauge = histogram = counter

    with shop.wink.in_memory(metrics=Metrics()):
        shop.note.delay(text="a").get()
        shop.add.delay(1).get()
    assert ("wink.tool.invocations", {"tool": "note", "status": "ok"}) in counted
    assert ("wink.prompt.duration_seconds", {"prompt": "shop.add", "status": "success"}) in counted
    assert sum(name == "wink.tool.invocations" for name, _ in counted) == 1


# what this worker does not know, or cannot read


def test_a_task_that_is_not_known_here_is_postponed(shop: Works):
    with scripted(shop.wink, {}):
        run = shop.add.with_options(countdown=1).delay(1)
        hidden = shop.wink.registry.tasks.pop("shop.add")
        shop.wink.desk().work(10)
        assert "task 'shop.add' is unknown to worker" in run.explain()
        shop.wink.registry.tasks["shop.add"] = hidden
        assert run.get() == 2


def test_parameters_that_do_not_fit_any_more(shop: Works):
    with scripted(shop.wink, {}):
        run = shop.add.with_options(countdown=1).delay(1)
        shop.wink.registry.tasks["shop.add"] = after_a_deploy()
        with pytest.raises(ParamsChangedError, match="x: Field required"):
            run.get()


def after_a_deploy():
    """What `shop.add` is after a deploy that renamed its parameters."""
    other = Works(providers={"house": NoProvider()})

    @other.wink.task(name="other")
    def add(x: int, y: int) -> int:
        return x + y

    return add.definition


def test_a_message_that_does_not_read_its_run(shop: Works):
    with scripted(shop.wink, {}) as kit:
        run = shop.add.with_options(countdown=1).delay(1)
        kit.clock.advance(1)
        claimed = structs.replace(shop.claim(shop.add, run), read=())
        with pytest.raises(LedgerFormatError, match="reads \\[\\], not its run"):
            work_task(shop.wink.house().parts, claimed, Stop())


# declarations


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"max_retries": -1}, "max_retries=-1 is less than zero"),
        ({"max_retries": None}, "max_retries=None does not fit: it takes a number of retries"),
        ({"retry_on": [ValueError()]}, "retry_on lists ValueError"),
        ({"retry_on": OSError}, "task 'work': retry_on=<class 'OSError'> is no list of exceptions"),
        ({"autoretry_for": OSError}, r"autoretry_for=<class 'OSError'> .*: autoretry_for=\[OSError\]"),
        ({"visibility_timeout": 0.5}, "visibility_timeout=0.5 does not fit: it takes seconds, from 1 to 43200"),
        ({"visibility_timeout": "30"}, "visibility_timeout='30' does not fit"),
        ({"visibility_timeout": True}, "visibility_timeout=True does not fit"),
        ({"visibility_timeout": 43_201}, "visibility_timeout=43201"),
        ({"deadline": 0}, "deadline=0 does not fit: it takes seconds, greater than zero"),
        ({"deadline": "60"}, "deadline='60' does not fit"),
        ({"name": "no spaces"}, "give it name="),
        ({"name": 5}, "task 5: name=5 does not fit: it takes text, not int"),
        ({"queue": 5}, "queue=5 does not fit: it takes the name of a queue, not int"),
        ({"retry_backoff": -1}, "retry_backoff=-1"),
        ({"retry_backoff": "x"}, "task 'work': retry_backoff='x' does not fit: it takes seconds, or True, not str"),
        ({"retry_backoff": float("nan")}, "retry_backoff=nan"),
        ({"retry_backoff_max": "x"}, "retry_backoff_max='x' does not fit: it takes seconds, not str"),
        ({"retry_jitter": "x"}, "retry_jitter='x' does not fit: it takes True or False, not str"),
        ({"retry_backoff": True, "retry_backoff_max": 0}, "retry_backoff_max=0"),
        ({"name": "add"}, "is declared twice"),
        (
            {"bind": True, "soft_time_limit": 3},
            "does not take bind, soft_time_limit: it takes autoretry_for, .* and self take a ToolContext",
        ),
        ({"namespace": "shop"}, "does not take namespace"),
    ],
)
def test_declarations_that_can_never_run(shop: Works, options: dict, complaint: str):
    def work(n: int) -> int:
        return n

    with pytest.raises(DeclarationError, match=complaint):
        shop.wink.task(**options)(work)


def test_a_declaration_says_what_its_messages_do(shop: Works):
    @shop.wink.task(queue="slow", max_retries=7, visibility_timeout=2, name="tuned")
    def work(n: int) -> int:
        return n

    with scripted(shop.wink, {}):
        run = work.with_options(countdown=5, priority=3).delay(1)
        house = shop.wink.house()
        assert house.store.ledger.message("default", run.id, run.id).mailbox == "slow"
        assert house._keeper._every == pytest.approx(2 / 3)
        sent = house.store.mailbox._books.message(run.id, run.id).sent
        assert (sent.max_retries, sent.visibility_timeout, sent.priority, sent.task) == (7, 2, 3, "shop.tuned")
    assert shop.wink.registry.mailboxes() == {"celery", "slow"}
    assert work.definition.digest != shop.add.definition.digest
    assert "shop.tuned:outcome" in shop.app.tasks


def test_a_failure_without_a_traceback_is_as_it_was():
    assert EvaluationFailed(evaluation="e", code="c", message="m").traceback is None
