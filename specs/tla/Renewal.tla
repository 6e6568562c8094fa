------------------------------ MODULE Renewal -------------------------------
(* Time: one message, a step that may take longer than the visibility timeout, the keeper that renews its lease, and a
   second worker that claims as soon as it may. Untimed models cannot see that renewal is missing.

   It takes from Mailbox.tla that the fence holds, and assumes that while a worker lives its keeper is never later than
   Late, and that the clocks that count are the store's alone (scripts ask it for the time). *)
EXTENDS Naturals

CONSTANTS
  Timeout,  \* of the lease
  Every,    \* how far apart renewals are
  Late,     \* by how much one may be late
  Limit,    \* of the step itself: what lives but is stuck is not renewed beyond it
  Look,     \* how long after its time the reaper's look and the next claim may be
  Horizon   \* how long is watched

VARIABLES
  now,
  until,  \* the end of the lease
  step,   \* of the first worker: alive, running, when it began, when it renews next
  taken,  \* when the second worker claimed; 0 before
  died    \* when the first one died; 0 while it lives
vars == <<now, until, step, taken, died>>

Init ==
  /\ now = 1
  /\ until = 1 + Timeout
  /\ step = [running |-> TRUE, began |-> 1, renew |-> 1 + Every]
  /\ taken = 0
  /\ died = 0

Alive == died = 0
Renews == step.running /\ Alive /\ now < Limit + step.began
Owed == step.running /\ taken = 0

Extend ==
  /\ Renews
  /\ now >= step.renew
  /\ until' = IF taken = 0 THEN now + Timeout ELSE until
  /\ step' = [step EXCEPT !.renew = now + Every]
  /\ UNCHANGED <<now, taken, died>>

Claim ==
  /\ Owed
  /\ now >= until
  /\ taken' = now
  /\ UNCHANGED <<now, until, step, died>>

Settle ==
  /\ Owed
  /\ Alive
  /\ step' = [step EXCEPT !.running = FALSE]
  /\ UNCHANGED <<now, until, taken, died>>

Crash ==
  /\ Owed
  /\ Alive
  /\ died' = now
  /\ UNCHANGED <<now, until, step, taken>>

\* Time passes unless somebody would be later than is assumed.
Tick ==
  /\ Owed
  /\ now < Horizon
  /\ Renews => now < step.renew + Late
  /\ now < until + Look
  /\ now' = now + 1
  /\ UNCHANGED <<until, step, taken, died>>

Command ==
  \/ Extend
  \/ Claim
  \/ Settle

Environment ==
  \/ Crash
  \/ Tick

Next == Command \/ Environment
Spec == Init /\ [][Next]_vars

\* While its worker lives and it keeps to its limit, nobody else is given the step.
RunsOnce == taken > 0 => (died > 0 /\ died <= taken) \/ taken >= step.began + Limit

\* What a dead worker held, and what is stuck beyond its limit, is taken over in bounded time (DESIGN 6, 6).
TakenAfterDeath == died > 0 /\ Owed => now <= died + Timeout + Look
StuckIsTaken == Owed => now <= step.began + Limit + Timeout + Look

NoLongStep == ~(~step.running /\ now > step.began + Timeout)
NoTakeOver == ~(taken > 0 /\ died > 0)
NoStuckStep == ~(taken > 0 /\ died = 0)
=============================================================================
