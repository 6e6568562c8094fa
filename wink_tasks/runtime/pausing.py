"""Holding back what an operator has paused: it is postponed, uncounted, and its evaluation's clock stands still."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wink_tasks.core.errors import LedgerUnavailableError
from wink_tasks.core.events import EvaluationAccepted
from wink_tasks.core.ids import TURN
from wink_tasks.ports.clock import Clock
from wink_tasks.ports.mailbox import Claimed
from wink_tasks.ports.pauses import Pause, Pauses
from wink_tasks.runtime.parts import Parts
from wink_tasks.runtime.turn import caught_up
from wink_tasks.runtime.work import Postponed

LOOK_EVERY = 2.0
"""Seconds for which what was read of the pauses is good enough."""

HELD_BACK = 5.0
"""Seconds until what is held back is looked at again."""


class Holds:
    """The pauses in force, as a process knows them: at most `LOOK_EVERY` seconds old, so that no claim has to ask."""

    def __init__(self, pauses: Pauses, clock: Clock) -> None:
        self._pauses = pauses
        self._clock = clock
        self._known: Sequence[Pause] = ()
        self._look_at = clock.monotonic()

    def now(self) -> Sequence[Pause]:
        """Those in force; while the store is away, those known last."""
        if self._clock.monotonic() >= self._look_at:
            self._look_at = self._clock.monotonic() + LOOK_EVERY
            try:
                self._known = self._pauses.paused()
            except LedgerUnavailableError:  # the step itself will tell of it
                return self._known
        return self._known


def covering(pauses: Iterable[Pause], *, tenant: str, mailbox: str, prompt: str, model: str | None) -> Pause | None:
    """The pause that holds back a step, None where none does. `model` None: the step asks none."""
    about = {"tenant": tenant, "mailbox": mailbox, "prompt": prompt, "model": model}
    return next((pause for pause in pauses if about[pause.subject] == pause.name), None)


def held_back(parts: Parts, claimed: Claimed) -> Postponed | None:
    """How a step is postponed that an operator holds back; None where it may go on."""
    pauses = parts.holds.now()
    if not pauses:
        return None
    message = claimed.message
    asked = (record.event.prompt for record in claimed.read if isinstance(record.event, EvaluationAccepted))
    prompt = next(asked, message.task.removesuffix(TURN))
    asks = message.kind == "turn" and any(pause.subject == "model" for pause in pauses)
    model = _model(parts, claimed) if asks else None
    pause = covering(pauses, tenant=message.tenant, mailbox=message.mailbox, prompt=prompt, model=model)
    return None if pause is None else Postponed(HELD_BACK, str(pause), counts=False, paused=str(pause))


def _model(parts: Parts, claimed: Claimed) -> str | None:
    """The model that a turn would ask."""
    evaluation = caught_up(parts, claimed).open[claimed.message.evaluation]
    prompt = parts.registry.prompts.get(evaluation.prompt)
    if prompt is None:
        return None
    return parts.router.select_model(prompt, evaluation.terms, attempt=claimed.deliveries)
