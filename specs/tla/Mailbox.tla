------------------------------- MODULE Mailbox -------------------------------
(* Delivery: one turn and the outcome that its end makes, on their way through any number of workers. A turn that died and
   is revived resumes its evaluation, whose second end makes an outcome of its own ("again").

   What the store does in one script is one action here, and carries the name that the script gives under "Action:".
   Around it is what goes wrong: replies are lost and the command is asked again with its nonce, doorbells are lost and
   doubled, workers die, or stall beyond their lease and come back with the receipt that they remember (nothing here
   makes a worker forget but its own death), the store fails over to a replica that lags.

   Time is only whether that of a message has come (`due`): any lease may run out at any moment. Renewal.tla has a clock.
   Fan-in, waiting and cancelling are in Evaluation.tla, which takes from here that a step is recorded at most once. *)
EXTENDS Naturals, Sequences, FiniteSets, TLC

CONSTANTS
  Worker,     \* processes that claim
  Message,    \* {"turn", "outcome", "again"}, or some of them
  Retries,    \* max_retries of both
  Pardons,    \* how many deliveries of a message are given back uncounted
  Revivals,   \* how often a message is revived
  Bells,      \* how many doorbells of a message the broker holds at most; 0: whoever likes to claim does
  Faults,     \* how many faults happen; Unbounded for any number
  Loses,      \* commands whose replies may be lost
  Fence,      \* which halves of a receipt the store compares: a subset of {"epoch", "nonce"}
  FailsOver,  \* whether the store may lose its latest writes
  Traced      \* whether `act` says what happened

Unbounded == 99

VARIABLES
  store,    \* [msg, ledger]: what a script reads and writes as a whole
  replica,  \* an earlier store, to which it may fall back
  bells,    \* doorbells in the broker
  worker,   \* what each worker remembers: pc, and its receipt (at, epoch)
  faults,   \* how many happened
  breach,   \* what a receipt did that was not the newest; a settler that was refused what it had recorded
  act       \* the last action with its parameters, for traces
vars == <<store, replica, bells, worker, faults, breach, act>>
view == <<store, replica, bells, worker, faults, breach>>
Symmetry == Permutations(Worker)

(* A worker's nonces are told apart only as long as it remembers them: "" is one of long ago, Void none at all. Hence
   `nonce` and `last` hold the worker whose present nonce it is. `owner` and `author` are not in the store: they tell
   who truly has the newest receipt, and whose settlement was recorded. *)
Void == "void"
Nobody == ""
Blank == [state |-> "none", due |-> FALSE, epoch |-> 0, deliveries |-> 0, pardoned |-> 0, nonce |-> Void, last |-> "",
          settled |-> 0, revived |-> 0, owner |-> Nobody, author |-> Nobody]
Idle == [pc |-> "idle", at |-> "", epoch |-> 0]
OPEN == {"ready", "delayed", "leased"}
TERMINAL == {"EvaluationSucceeded", "EvaluationFailed"}

Init ==
  /\ store = [msg |-> [m \in Message |-> Blank], ledger |-> <<>>]
  /\ replica = store
  /\ bells = [m \in Message |-> 0]
  /\ worker = [w \in Worker |-> Idle]
  /\ faults = 0
  /\ breach = {}
  /\ act = <<"Init">>

----------------------------------------------------------------------------
(* What scripts are made of. S is a store. *)

Count(s, P(_)) == Cardinality({i \in DOMAIN s : P(s[i])})
Ends(S) == Count(S.ledger, LAMBDA e : e \in TERMINAL)
Resumed(S) == Count(S.ledger, LAMBDA e : e = "EvaluationResumed")
Ended(S) == Ends(S) > Resumed(S)
OutcomeOf(S) == IF Resumed(S) = 0 THEN "outcome" ELSE "again"
Move(S, m, state) == [S EXCEPT !.msg[m].state = state, !.msg[m].due = FALSE]

\* The end of an evaluation makes its outcome.
Finish(S, events) ==
  LET T == [S EXCEPT !.ledger = @ \o events]
  IN IF "outcome" \in Message THEN Move(T, OutcomeOf(T), "ready") ELSE T

\* Death is a settle.
Die(S, m) ==
  LET T == Move(S, m, "dead")
  IN IF m = "turn" /\ ~Ended(S) THEN Finish(T, <<"StepDied", "EvaluationFailed">>) ELSE T

Lease(S, m, w) ==
  [Move(S, m, "leased") EXCEPT !.msg[m].epoch = @ + 1, !.msg[m].deliveries = @ + 1, !.msg[m].nonce = w,
                               !.msg[m].owner = w]

Holds(S, m, w) ==
  LET M == S.msg[m] IN
  /\ M.state \in OPEN
  /\ "epoch" \in Fence => M.epoch = worker[w].epoch
  /\ "nonce" \in Fence => M.nonce = w
  /\ M.nonce # Void

Tried(M) == M.deliveries - M.pardoned

\* The store as it is when w no longer asks again: its nonces are of long ago.
Forget(S, w) ==
  LET old(x) == IF x = w THEN "" ELSE x
  IN [S EXCEPT !.msg = [m \in Message |-> [S.msg[m] EXCEPT !.nonce = old(@), !.last = old(@), !.author = old(@)]]]

\* Whoever made messages ready rings them.
Ring1(S) == [m \in Message |->
  IF S.msg[m].state = "ready" /\ store.msg[m].state # "ready" /\ bells[m] < Bells THEN bells[m] + 1 ELSE bells[m]]

Heard(m) == Bells = 0 \/ bells[m] > 0
Answered(m) == IF bells[m] > 0 THEN bells[m] - 1 ELSE 0

Act(what) == act' = IF Traced THEN what ELSE act
Fault == IF Faults = Unbounded THEN UNCHANGED faults ELSE faults < Faults /\ faults' = faults + 1
Wrongly(w, m, command) == IF store.msg[m].owner = w THEN breach ELSE breach \union {command}

\* The reply reaches w, which goes on as `then`; or it is lost, and w will ask again with the same nonce.
Reply(w, told, S, asking, then) ==
  IF told
  THEN /\ worker' = [worker EXCEPT ![w] = then]
       /\ store' = IF then.pc = "idle" THEN Forget(S, w) ELSE S
       /\ bells' = Ring1(S)
       /\ UNCHANGED faults
  ELSE /\ worker' = [worker EXCEPT ![w].pc = asking]
       /\ store' = S
       /\ UNCHANGED bells
       /\ Fault

Receipt(S, m) == [pc |-> "holds", at |-> m, epoch |-> S.msg[m].epoch]
Told(told) == IF told THEN "told" ELSE "lost"

----------------------------------------------------------------------------
(* Commands of the store. *)

First == IF "turn" \in Message THEN "turn" ELSE "outcome"
Send ==
  /\ store.msg[First].state = "none"
  /\ store' = Move(store, First, "ready")
  /\ bells' = Ring1(store')
  /\ Act(<<"Send">>)
  /\ UNCHANGED <<replica, worker, faults, breach>>

Claim(w, m, told) ==
  LET M == store.msg[m]
      first == worker[w].pc = "idle"
      again == ~first /\ w \in {M.nonce, M.last}
      takes == ~again /\ (M.state = "ready" \/ (M.state \in {"leased", "delayed"} /\ M.due))
      leased == Lease(store, m, w)
      buries == Tried(leased.msg[m]) > 1 + Retries
      S == IF ~takes THEN store
           ELSE IF buries THEN [Die(leased, m) EXCEPT !.msg[m].last = w]
           ELSE leased
      got == S.msg[m].nonce = w /\ S.msg[m].state \in OPEN
  IN
  /\ \/ first /\ Heard(m)
     \/ worker[w].pc = "claims" /\ worker[w].at = m
  /\ told \/ "Claim" \in Loses
  /\ IF told
     THEN /\ worker' = [worker EXCEPT ![w] = IF got THEN Receipt(S, m) ELSE Idle]
          /\ store' = IF got THEN S ELSE Forget(S, w)
          /\ bells' = [Ring1(S) EXCEPT ![m] = IF first THEN Answered(m) ELSE bells[m]]
          /\ UNCHANGED faults
     ELSE /\ worker' = [worker EXCEPT ![w] = [pc |-> "claims", at |-> m, epoch |-> 0]]
          /\ store' = S
          /\ bells' = [bells EXCEPT ![m] = IF first THEN Answered(m) ELSE @]
          /\ Fault
  /\ Act(<<"Claim", w, m, Told(told)>>)
  /\ UNCHANGED <<replica, breach>>

\* The keeper's: it may still be on its way when the step's own command has come through.
Extend(w) ==
  LET m == worker[w].at
      held == Holds(store, m, w)
  IN
  /\ worker[w].pc \notin {"idle", "claims"}
  /\ store' = IF held THEN Move(store, m, "leased") ELSE store
  /\ breach' = IF held THEN Wrongly(w, m, "extend") ELSE breach
  /\ Act(<<"Extend", w, m>>)
  /\ UNCHANGED <<replica, bells, worker, faults>>

\* `goes on`: the settler serves the successor's mailbox, so the same script leases it to the settler.
Settle(w, told, goesOn) ==
  LET m == worker[w].at
      again == worker[w].pc = "settles" /\ store.msg[m].last = w
      held == ~again /\ Holds(store, m, w)
      closed == [Move(store, m, "done") EXCEPT !.msg[m].settled = @ + 1, !.msg[m].last = w, !.msg[m].author = w]
      ended == IF m = "turn" THEN Finish(closed, <<"EvaluationSucceeded">>) ELSE closed
      S == IF ~held THEN store
           ELSE IF goesOn THEN Lease(ended, OutcomeOf(ended), w)
           ELSE ended
      successor == m = "turn" /\ "outcome" \in Message /\ (held \/ again) /\ S.msg[OutcomeOf(S)].nonce = w
  IN
  /\ worker[w].pc \in {"holds", "settles"}
  /\ told \/ "Settle" \in Loses
  /\ goesOn => m = "turn" /\ "outcome" \in Message
  /\ Reply(w, told, S, "settles", IF successor THEN Receipt(S, OutcomeOf(S)) ELSE Idle)
  /\ breach' = IF held THEN Wrongly(w, m, "settle")
               ELSE IF told /\ ~again /\ store.msg[m].author = w THEN breach \union {"refused its own"}
               ELSE breach
  /\ Act(<<"Settle", w, m, Told(told), IF goesOn THEN "goes on" ELSE "leaves it">>)
  /\ UNCHANGED replica

\* Given back: counted as a failure or pardoned, at once or after a delay.
Nack(w, told, counts, delay) ==
  LET m == worker[w].at
      again == worker[w].pc = "nacks" /\ store.msg[m].last = w
      held == ~again /\ Holds(store, m, w)
      void == [store EXCEPT !.msg[m].nonce = Void, !.msg[m].owner = Nobody, !.msg[m].last = w,
                            !.msg[m].pardoned = IF counts THEN @ ELSE @ + 1]
      S == IF ~held THEN store
           ELSE IF counts /\ Tried(void.msg[m]) >= 1 + Retries THEN Die(void, m)
           ELSE Move(void, m, IF delay THEN "delayed" ELSE "ready")
  IN
  /\ worker[w].pc \in {"holds", "nacks"}
  /\ told \/ "Nack" \in Loses
  /\ counts \/ store.msg[m].pardoned < Pardons + store.msg[m].revived * (2 + Retries + Pardons)
  /\ Reply(w, told, S, "nacks", Idle)
  /\ breach' = IF held THEN Wrongly(w, m, "nack") ELSE breach
  /\ Act(<<"Nack", w, m, Told(told), IF counts THEN "counted" ELSE "pardoned", IF delay THEN "later" ELSE "now">>)
  /\ UNCHANGED replica

Bury(w, told) ==
  LET m == worker[w].at
      again == worker[w].pc = "buries" /\ store.msg[m].last = w
      held == ~again /\ Holds(store, m, w)
      S == IF held THEN [Die(store, m) EXCEPT !.msg[m].last = w] ELSE store
  IN
  /\ worker[w].pc \in {"holds", "buries"}
  /\ told \/ "Bury" \in Loses
  /\ Reply(w, told, S, "buries", Idle)
  /\ breach' = IF held THEN Wrongly(w, m, "bury") ELSE breach
  /\ Act(<<"Bury", w, m, Told(told)>>)
  /\ UNCHANGED replica

\* The reaper, of which there may be any number.
Reaped(m, name) ==
  /\ store' = Move(store, m, "ready")
  /\ bells' = Ring1(store')
  /\ Act(<<name, m>>)
  /\ UNCHANGED <<replica, worker, faults, breach>>

Expire(m) == store.msg[m].state = "leased" /\ store.msg[m].due /\ Reaped(m, "Expire")
Due(m) == store.msg[m].state = "delayed" /\ store.msg[m].due /\ Reaped(m, "Due")

Ring(m) ==
  /\ store.msg[m].state = "ready"
  /\ Bells = 0 \/ bells[m] < Bells
  /\ bells' = [bells EXCEPT ![m] = IF Bells = 0 THEN 0 ELSE @ + 1]
  /\ Act(<<"Ring", m>>)
  /\ UNCHANGED <<store, replica, worker, faults, breach>>

\* An operator's replay. A turn resumes its evaluation, once the end by its death was told; an outcome of an end that
\* has been gone beyond is closed without effect.
Revive(m) ==
  LET M == store.msg[m]
      early == m = "turn" /\ \E o \in Message : store.msg[o].state \in OPEN
      over == m # "turn" /\ "turn" \in Message /\ (~Ended(store) \/ m # OutcomeOf(store))
      events == IF over THEN <<>> ELSE IF m = "turn" THEN <<"StepRevived", "EvaluationResumed">> ELSE <<"StepRevived">>
      pardoned == [store EXCEPT !.msg[m].pardoned = M.deliveries, !.msg[m].nonce = Void, !.msg[m].owner = Nobody,
                                !.ledger = @ \o events]
  IN
  /\ M.state = "dead"
  /\ M.revived < Revivals
  /\ ~early
  /\ store' = [Move(IF over THEN store ELSE pardoned, m, IF over THEN "done" ELSE "ready")
                  EXCEPT !.msg[m].revived = M.revived + 1, !.msg[m].last = ""]
  /\ bells' = Ring1(store')
  /\ Act(<<"Revive", m>>)
  /\ UNCHANGED <<replica, worker, faults, breach>>

----------------------------------------------------------------------------
(* What happens around it. *)

Lapse(m) ==
  /\ store.msg[m].state \in {"leased", "delayed"}
  /\ ~store.msg[m].due
  /\ store' = [store EXCEPT !.msg[m].due = TRUE]
  /\ Act(<<"Lapse", m>>)
  /\ UNCHANGED <<replica, bells, worker, faults, breach>>

Crash(w) ==
  /\ worker[w].pc # "idle"
  /\ worker' = [worker EXCEPT ![w] = Idle]
  /\ store' = Forget(store, w)
  /\ Fault
  /\ Act(<<"Crash", w>>)
  /\ UNCHANGED <<replica, bells, breach>>

LoseBell(m) ==
  /\ bells[m] > 0
  /\ bells' = [bells EXCEPT ![m] = @ - 1]
  /\ Fault
  /\ Act(<<"LoseBell", m>>)
  /\ UNCHANGED <<store, replica, worker, breach>>

DoubleBell(m) ==
  /\ bells[m] \in 1..(Bells - 1)
  /\ bells' = [bells EXCEPT ![m] = @ + 1]
  /\ Fault
  /\ Act(<<"DoubleBell", m>>)
  /\ UNCHANGED <<store, replica, worker, breach>>

Replicate ==
  /\ FailsOver
  /\ replica # store
  /\ replica' = store
  /\ Act(<<"Replicate">>)
  /\ UNCHANGED <<store, bells, worker, faults, breach>>

FailOver ==
  /\ FailsOver
  /\ replica # store
  /\ store' = replica
  /\ Act(<<"FailOver">>)
  /\ UNCHANGED <<replica, bells, worker, faults, breach>>

----------------------------------------------------------------------------
Command ==
  \/ Send
  \/ \E w \in Worker, m \in Message, told \in BOOLEAN : Claim(w, m, told)
  \/ \E w \in Worker : Extend(w)
  \/ \E w \in Worker, told, goesOn \in BOOLEAN : Settle(w, told, goesOn)
  \/ \E w \in Worker, told, counts, delay \in BOOLEAN : Nack(w, told, counts, delay)
  \/ \E w \in Worker, told \in BOOLEAN : Bury(w, told)
  \/ \E m \in Message : Expire(m)
  \/ \E m \in Message : Due(m)
  \/ \E m \in Message : Ring(m)
  \/ \E m \in Message : Revive(m)

Environment ==
  \/ \E m \in Message : Lapse(m)
  \/ \E w \in Worker : Crash(w)
  \/ \E m \in Message : LoseBell(m)
  \/ \E m \in Message : DoubleBell(m)
  \/ Replicate
  \/ FailOver

Next == Command \/ Environment

\* Some worker lives, steps end, time passes, some reaper looks; replies come through in the end.
Fairness ==
  /\ \A m \in Message : WF_vars(\E w \in Worker : Claim(w, m, TRUE))
  /\ \A w \in Worker : WF_vars(\E m \in Message : worker[w].pc = "claims" /\ Claim(w, m, TRUE))
  /\ \A w \in Worker : WF_vars(Settle(w, TRUE, FALSE))
  /\ \A w \in Worker : WF_vars(worker[w].pc = "nacks" /\ Nack(w, TRUE, TRUE, FALSE))
  /\ \A w \in Worker : WF_vars(worker[w].pc = "buries" /\ Bury(w, TRUE))
  /\ \A m \in Message : WF_vars(Lapse(m)) /\ WF_vars(Expire(m)) /\ WF_vars(Due(m)) /\ WF_vars(Ring(m))

Spec == Init /\ [][Next]_vars
FairSpec == Spec /\ Fairness

----------------------------------------------------------------------------
(* DESIGN 6, by number. *)

\* 1. A message is in exactly one state, and moves only as core/delivery.py's TABLE says.
OneState ==
  \A m \in Message : LET M == store.msg[m] IN
    /\ M.state \in OPEN \union {"none", "done", "dead"}
    /\ M.state \in {"none", "ready", "done", "dead"} => ~M.due

Moves == [
  none    |-> {"ready"},
  ready   |-> {"leased", "done", "delayed", "dead"},
  delayed |-> {"ready", "leased", "dead"},
  leased  |-> {"done", "delayed", "ready", "dead"},
  done    |-> {},
  dead    |-> {"ready", "done"}]
ByTheTable ==
  [][\A m \in Message : LET from == store.msg[m].state to == store'.msg[m].state IN to # from =>
       \/ to \in Moves[from]
       \/ from = "none" /\ to = "leased"]_store   \* made and leased to the settler in one script

\* 2. Only the newest receipt can settle, extend or nack.
NewestOnly == breach \intersect {"settle", "extend", "nack", "bury"} = {}

\* 2, seen from the lease: until its time has come nobody takes it from its holder.
Hidden ==
  [][\A m \in Message : LET M == store.msg[m] N == store'.msg[m] IN
       M.state = "leased" /\ ~M.due => N.owner = M.owner \/ N.owner = Nobody \/ N.state # "leased"]_store
HiddenFromTheReaper ==
  [][\A m \in Message : LET M == store.msg[m] N == store'.msg[m] IN
       M.state = "leased" /\ ~M.due /\ N.state = "ready" => N.nonce = Void]_store

\* 3. No accepted message disappears: what was recorded has left what follows from it.
NothingLost ==
  "turn" \in Message /\ "outcome" \in Message =>
    /\ store.msg["turn"].state \in {"done", "dead"} => Ended(store)
    /\ Ends(store) >= 1 <=> store.msg["outcome"].state # "none"
    /\ "again" \in Message => (Ends(store) >= 2 <=> store.msg["again"].state # "none")
EndsDoneOrDead == \A m \in Message : store.msg[m].state # "none" ~> store.msg[m].state \in {"done", "dead"}

\* 4. Deliveries, pardoned and epoch never fall.
NeverFall ==
  [][\A m \in Message : LET M == store.msg[m] N == store'.msg[m] IN
       N.deliveries >= M.deliveries /\ N.pardoned >= M.pardoned /\ N.epoch >= M.epoch]_store
\* 4, what it is good for: each delivery has an epoch of its own, and a message that kills its workers dies.
Bounded ==
  \A m \in Message : LET M == store.msg[m] IN
    /\ M.epoch = M.deliveries
    /\ Tried(M) <= 2 + Retries
    /\ Tried(M) = 2 + Retries => M.state \in {"dead", "done"}

BuriedByTheLastNack ==
  [][\A m \in Message : LET M == store.msg[m] N == store'.msg[m] IN
       M.nonce # Void /\ N.nonce = Void /\ N.pardoned = M.pardoned /\ Tried(M) > Retries => N.state = "dead"]_store

\* 5. The events of a step are in the ledger at most once; who recorded them is told so.
RecordedOnce == \A m \in Message : store.msg[m].settled <= 1
ToldTheTruth == "refused its own" \notin breach

\* 6. If some worker stays alive and steps end by their limits, every message leaves ready and leased.
LeavesReadyAndLeased ==
  \A m \in Message : store.msg[m].state \in {"ready", "leased"} ~> store.msg[m].state \notin {"ready", "leased"}

\* 7. Every accepted evaluation gets exactly one terminal event, and its outcome is delivered.
\* (One more after each time that it was resumed.)
OneEnd == Ends(store) <= 1 + Resumed(store)
OutcomeFollowsEnd ==
  "turn" \in Message => \A o \in Message \ {"turn"} : store.msg[o].state \in OPEN => Ended(store) /\ o = OutcomeOf(store)
OutcomeDelivered ==
  store.msg["turn"].state # "none" ~> Ended(store) /\ store.msg["outcome"].state \in {"done", "dead"}

----------------------------------------------------------------------------
(* Witnesses: that the model reaches what it is about. Each must be violated. *)

Zombie(w) == worker[w].pc # "idle" /\ worker[w].pc # "claims" /\ store.msg[worker[w].at].epoch > worker[w].epoch
NoRenewedLease == [][~(\E w \in Worker, m \in Message : store.msg[m].state = "leased" /\ store.msg[m].due
  /\ store'.msg[m].state = "leased" /\ ~store'.msg[m].due /\ store'.msg[m].epoch = store.msg[m].epoch)]_store
NoZombie == \A w \in Worker : ~Zombie(w)
NoZombieThatSettles == \A w \in Worker : ~(Zombie(w) /\ worker[w].pc = "settles")
NoSecondAttemptRecorded == \A m \in Message : ~(store.msg[m].settled = 1 /\ store.msg[m].epoch > 1)
NoLateSettle == [][~(\E m \in Message : store.msg[m].state = "ready" /\ store'.msg[m].state = "done")]_store
NoDeadTurn == store.msg["turn"].state # "dead"
NoDeadOutcome == store.msg["outcome"].state # "dead"
NoRevivedOutcomeDone == ~(store.msg["outcome"].revived > 0 /\ store.msg["outcome"].state = "done")
NoResumption == store.msg["again"].state # "done"
NoOutcomeClosedUnrevived == ~(store.msg["outcome"].revived > 0 /\ ~Ended(store))
NoContinuation == ~(\E w \in Worker : worker[w].pc = "holds" /\ worker[w].at = "outcome" /\ store.msg["outcome"].epoch = 1
  /\ store.msg["turn"].nonce = w)
NoEpochTwice == \A v, w \in Worker : v # w => ~(worker[v].pc = "holds" /\ worker[w].pc = "holds"
  /\ worker[v].at = worker[w].at /\ worker[v].epoch = worker[w].epoch)
=============================================================================
