"""The dictionary of all keys. B is `<prefix>:{NN}:`, so what belongs together shares the hash tag NN, its partition.

For each key: its type, its fields, when it expires (where it does), who writes it, who reads it. "Scripts" are all
of the mailbox, a name with `.lua` is one of them.

B<tenant>:ledger:<session>       stream, ids <seq>-0: t (ms), a (actor), v (format), e (event)
                                 written by _session.lua, read by ledger, _reply.lua
B<tenant>:session:<session>      hash: head, created, updated, current
                                 written by accept.lua, _session.lua, _end.lua, read by scripts, ledger
B<tenant>:waiting:<session>      list: evaluations behind the current one
                                 written by accept.lua, _end.lua, read by _end.lua, ledger
B<tenant>:evaluations:<session>  list: its evaluations in the order of acceptance
                                 written by accept.lua, read by drop.lua, ledger, retention
B<tenant>:evaluation:<id>        hash: session, prompt, status, first (message), accepted_seq, accepted_at, started_at,
                                 ended_seq, ended_at, cancelled, reason, outcome (JSON of the message that the end
                                 makes), dead (letters), last (nonce), answer (ids that its command rang)
                                 written by scripts, read by scripts, ledger
B<tenant>:open:<id>              set: the evaluation's messages that are not closed
                                 written by _commit.lua, read by _end.lua, drop.lua, ledger
B<tenant>:dropped:<session>      string: nonce of the drop; expires after an hour
                                 written and read by drop.lua
B<tenant>:expired:<session>      string: when its retention ended; expires after 90 days
                                 written by drop.lua, read by ledger
Bhome:<id>                       string: JSON list of tenant, session, prompt of the evaluation that lives here;
                                 expires after a week where the run was not accepted
                                 written by home.lua, accept.lua, read by commands
Bmessage:<id>                    hash: spec (JSON as core has it), state, due, needs, reads, epoch, deliveries,
                                 pardoned, rings, owner, nonce, error, last (nonce), answer; while it is open, or dead
                                 written by scripts, read by scripts, ledger
Bclosed:<id>                     string: what is kept of a message that is done (lines, see ledger.CLOSED); expires
                                 after an hour
                                 written by _commit.lua, read by _message.lua, ledger
Bdue                             sorted set: message by the time at which the reaper looks at it
                                 written by _commit.lua, read by reap.lua
Bready:<mailbox>, Bleased:<mailbox>, Bdead:<mailbox>
                                 sorted set: messages by the time they got there
                                 written by _commit.lua, read by depth
Bsessions                        sorted set: <tenant>:<session> by last change
                                 written by _session.lua, read by ledger, retention
Bactive                          set: <tenant>:<session> of those that run an evaluation
                                 written by _session.lua, read by ledger
Bfeed                            stream, the last 10,000 or so: what (accepted, ended, buried, recovered), tenant,
                                 session, evaluation, message
                                 written by scripts, read by live views
Breaped                          hash: last (nonce), answer of the last reap
                                 written and read by reap.lua
<prefix>:{fleet}:workers         hash: name -> time seen, description (JSON)
                                 written by beat.lua, leave.lua, read by fleet
<prefix>:{fleet}:alive           sorted set: name by the end of its life
                                 written by beat.lua, leave.lua, read by beat.lua, fleet
<prefix>:{fleet}:reaper          hash: name, until; written and read by beat.lua, leave.lua
<prefix>:{fleet}:settings        hash: what all processes share; written and read by agree.lua
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
