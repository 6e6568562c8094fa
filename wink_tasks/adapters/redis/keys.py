"""The dictionary of all keys. `B` is `<prefix>:{NN}:`: what belongs together shares the hash tag NN, its partition.

| key | type | holds | expires | written by | read by |
|---|---|---|---|---|---|
| `B<tenant>:ledger:<session>` | stream | `<seq>-0`: t (ms), a (actor), v (format), e (event) | no | append | ledger, claim |
| `B<tenant>:session:<session>` | hash | head, created, updated, current | no | append, end | ledger, all scripts |
| `B<tenant>:waiting:<session>` | list | evaluations behind the current one | no | accept, end | end, ledger |
| `B<tenant>:evaluations:<session>` | list | its evaluations as accepted | no | accept | drop, ledger |
| `B<tenant>:evaluation:<id>` | hash | session, prompt, status, first (message), accepted_seq, accepted_at, started_at, \
ended_seq, ended_at, cancelled, reason, outcome (message to make), dead (letters), last (nonce), answer | no | accept, \
lease, cancel, end, bury | ledger, all scripts |
| `B<tenant>:open:<id>` | set | the evaluation's messages that are not closed | no | create, close, bury | end, ledger |
| `B<tenant>:dropped:<session>` | string | nonce of the drop | 1 h | drop | drop |
| `B<tenant>:expired:<session>` | string | when its retention ended | 90 days | drop | ledger |
| `Bhome:<id>` | string | JSON: tenant, session, prompt of the evaluation whose home this is | no | home, accept | ledger, \
cancel |
| `Bmessage:<id>` | hash | what lua/_message.lua lists, spec (JSON), state, epoch, deliveries, pardoned, rings, due, \
owner, nonce, error, last (nonce), answer | 1 h after it is done | mailbox scripts | mailbox scripts, ledger |
| `Bdue` | sorted set | message by the time at which the reaper looks at it | no | mailbox scripts | reap |
| `Bready:<mailbox>`, `Bleased:`, `Bdead:` | sorted set | messages by the time they got there | no | mailbox scripts | \
depth |
| `Bsessions` | sorted set | `<tenant>:<session>` by last change | no | append, drop | ledger |
| `Bfeed` | stream, about 10,000 | what (accepted, ended, buried, recovered), tenant, session, evaluation, message | no \
| mailbox scripts | live views |
| `Breaped` | hash | nonce and answer of the last reap | no | reap | reap |
| `<prefix>:{fleet}:workers` | hash | name -> time seen, description (JSON) | by beat | beat, leave | fleet |
| `<prefix>:{fleet}:alive` | sorted set | name by the end of its life | by beat | beat, leave | fleet |
| `<prefix>:{fleet}:reaper` | hash | name, until | no | beat, leave | beat |
| `<prefix>:{fleet}:settings` | hash | what all processes share | no | agree | agree |
"""

from __future__ import annotations

from dataclasses import dataclass

from wink_tasks.core.ids import partition_of


@dataclass(frozen=True)
class Keys:
    """Where things are. Scripts derive the keys of a partition from its base themselves."""

    prefix: str
    partitions: int

    def partition(self, name: str) -> int:
        """The partition of a session, or the home of an evaluation id."""
        return partition_of(name, self.partitions)

    def base(self, partition: int) -> str:
        """What the keys of a partition begin with."""
        return f"{self.prefix}:{{{partition:02}}}:"

    def of(self, session: str, *parts: str) -> str:
        """A key in the partition of `session`."""
        return self.base(self.partition(session)) + ":".join(parts)

    def home(self, evaluation: str) -> str:
        """The home record of an evaluation id."""
        return self.of(evaluation, "home", evaluation)

    def fleet(self, kind: str) -> str:
        """A key of the fleet."""
        return f"{self.prefix}:{{fleet}}:{kind}"
