"""The dictionary of all keys. B is `<prefix>:{NN}:`, so what belongs together shares the hash tag NN, its partition.

For each key: its type, its fields, when it expires (where it does), who writes it, who reads it. "Scripts" are all
of the mailbox, a name with `.lua` is one of them.

B<tenant>:ledger:<session>       stream, ids <seq>-0, of a fork from base + 1 on: t (ms), a (actor), v (format),
                                 e (event), n (nonce of an append)
                                 written by _session.lua, restore.lua, read by ledger, append.lua, _reply.lua
B<tenant>:staged:<nonce>         stream: the events of a session that is being restored, as the ledger will have them;
                                 expires after an hour
                                 written by stage.lua, read and renamed by restore.lua
B<tenant>:session:<session>      hash: head, created, updated, current, restored (nonce, where it was); of a fork also
                                 parent, base (how many events are the parent's), loan
                                 written by accept.lua, append.lua, fork.lua, _session.lua, _end.lua, restore.lua,
                                 read by scripts, ledger, forks
B<tenant>:forks:<session>        hash: loan -> when, fork that reads the session's first events
                                 written by lend.lua, forks, read by drop.lua, forks
B<tenant>:snapshot:<session>     hash: seq, fingerprint (of the reducers), slices (JSON)
                                 written by snapshot.lua, read by ledger
B<tenant>:waiting:<session>      list: evaluations behind the current one
                                 written by accept.lua, _end.lua, read by _end.lua, ledger
B<tenant>:evaluations:<session>  list: its evaluations in the order of acceptance
                                 written by accept.lua, restore.lua, read by drop.lua, ledger, retention
B<tenant>:evaluation:<id>        hash: session, prompt, status, mailbox, first (message), accepted_seq, accepted_at,
                                 started_at, ended_seq, ended_at, cancelled, reason, outcome (JSON of the message that
                                 the end makes), dead (letters), died (the message by whose death it ended), resumed
                                 (how often), paused (the message that is held back), paused_at, last (nonce), answer
                                 (ids that its command rang)
                                 written by scripts, read by scripts, ledger
B<tenant>:open:<id>              set: the evaluation's messages that are not closed
                                 written by _index.lua, read by _end.lua, drop.lua, ledger
B<tenant>:dropped:<session>      string: nonce of the drop; expires after an hour
                                 written and read by drop.lua
B<tenant>:expired:<session>      string: when it was dropped, a blank, where it is archived; expires after 90 days
                                 written by drop.lua, read by ledger
Bhome:<id>                       string: JSON list of tenant, session, prompt of the evaluation that lives here;
                                 expires after a week where the run was not accepted
                                 written by home.lua, accept.lua, read by commands
Bmessage:<id>                    hash: spec (JSON as core has it), state, due, needs, reads, epoch, deliveries,
                                 pardoned, lost, rings, rung, owner, nonce, claimed (for the first time), error,
                                 traceback, reason (of its death), checkpoint (JSON), last (nonce), answer; while it
                                 is open, or dead
                                 written by scripts, read by scripts, ledger
Bclosed:<id>                     string: what is kept of a message that is done (lines, see ledger.CLOSED); expires
                                 after an hour
                                 written by _commit.lua, read by _message.lua, ledger
Bdue                             sorted set: message by the time at which the reaper looks at it
                                 written by _commit.lua, read by reap.lua
Bready:<mailbox>, Bleased:<mailbox>, Bdead:<mailbox>
                                 sorted set: messages by the time they got there
                                 written by _index.lua, read by depth, peek
Bburied                          set: mailboxes that hold dead letters, or held some
                                 written by _index.lua, read by dead
Brung:<priority>:<mailbox>       sorted set: ready messages of a lane by when their doorbell rang last
                                 written by _index.lua, read by _lane.lua
Bunconfirmed                     sorted set: ready messages by when they ring again unless their doorbell was published
                                 written by _index.lua, mailbox, read by reap.lua
Blanes                           hash: <priority>:<mailbox> -> what is known of its doorbells, see _lane.lua
                                 written by _index.lua, _lane.lua, read by _lane.lua
Bsessions                        sorted set: <tenant>:<session> by last change
                                 written by _session.lua, read by ledger, retention
Bactive                          set: <tenant>:<session> of those that run an evaluation
                                 written by _session.lua, read by ledger
Bfeed                            stream, the last 10,000 or so: what (accepted, ended, buried, recovered, revived,
                                 purged, paused, resumed), tenant, session, evaluation, message
                                 written by scripts, read by live views
Breaped                          hash: last (nonce), answer of the last reap
                                 written and read by reap.lua
Bpurged                          hash: last (nonce), answer of the last purge
                                 written and read by purge.lua
<prefix>:{fleet}:workers         hash: name -> time seen, description (JSON)
                                 written by beat.lua, leave.lua, read by fleet
<prefix>:{fleet}:alive           sorted set: name by the end of its life
                                 written by beat.lua, leave.lua, read by beat.lua, fleet
<prefix>:{fleet}:reaper          hash: name, until, turn (of the one who looks next), nonce, vacant
                                 written and read by beat.lua, leave.lua
<prefix>:{fleet}:paused          hash: subject:name -> what is held back (JSON); written and read by pauses
<prefix>:{fleet}:rejected        stream, bounded: m (what is known of a rejected Celery message, JSON), b (its body)
                                 written by reject.lua, forget.lua, read by rejections
<prefix>:{fleet}:rejections      hash: count, bytes, last (nonce), dropped_by (nonce), dropped
                                 written by reject.lua, forget.lua, read by rejections
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
