----------------------------- MODULE Evaluation -----------------------------
(* One session and two evaluations: a turn asks for two calls, side by side or in order, a second turn waits for them;
   the second evaluation waits for the first. Cancel, death as a settle, the outcome step.

   It takes from Mailbox.tla that of all receipts of a message only the newest does anything, and at most once settles:
   `held` is that there is such a receipt. So workers, nonces, doorbells and lost replies are not here, and a lease that
   ran out is just `ready` with its receipt still held. Why a message dies (retries, poison) is there as well. *)
EXTENDS Naturals, Sequences, FiniteSets

CONSTANTS
  Evaluation,  \* {"a", "b"}, or {"a"} alone
  Calling,     \* those of them whose turn asks for calls
  Limited,     \* whether a deadline may pass while a turn waits for its calls
  Traced

VARIABLES
  msg,      \* a message by its name: state, needs, wakes, held
  ledger,   \* the events, each <<what, evaluation, message>>
  current,  \* the evaluation that the session runs, or ""
  waiting,  \* those behind it
  act
vars == <<msg, ledger, current, waiting, act>>
view == <<msg, ledger, current, waiting>>

Kind == {"turn", "call0", "call1", "second", "outcome"}
Message == Evaluation \X Kind
OPEN == {"ready", "delayed", "leased"}
TERMINAL == {"EvaluationSucceeded", "EvaluationFailed", "EvaluationCancelled"}
Blank == [state |-> "none", needs |-> 0, wakes |-> "", held |-> FALSE, late |-> FALSE]
S == [msg |-> msg, ledger |-> ledger, current |-> current, waiting |-> waiting]

Init ==
  /\ msg = [m \in Message |-> Blank]
  /\ ledger = <<>>
  /\ current = ""
  /\ waiting = <<>>
  /\ act = <<"Init">>

----------------------------------------------------------------------------
(* What scripts are made of. T is a store, e an evaluation, m a message. *)

Has(T, what, e) == \E i \in DOMAIN T.ledger : T.ledger[i][1] = what /\ T.ledger[i][2] = e
Ended(T, e) == \E what \in TERMINAL : Has(T, what, e)
Stopping(T, e) == Has(T, "CancelRequested", e) /\ ~Ended(T, e)
Append1(T, what, e, m) == [T EXCEPT !.ledger = Append(@, <<what, e, m>>)]
Move(T, m, state) == [T EXCEPT !.msg[m].state = state]
Create(T, m, needs, wakes) ==
  [T EXCEPT !.msg[m] = [Blank EXCEPT !.needs = needs, !.wakes = wakes, !.state = IF needs > 0 THEN "delayed" ELSE "ready"]]

\* Action: Wake, within Settle and Bury, and at the end of an evaluation.
Wake(T, e, kind) ==
  LET m == <<e, kind>> M == T.msg[m] needs == M.needs - 1 IN
  IF kind = "" \/ M.state \notin OPEN \/ M.needs = 0 THEN T
  ELSE [T EXCEPT !.msg[m].needs = needs, !.msg[m].state = IF needs = 0 /\ @ = "delayed" THEN "ready" ELSE @]

CloseAll(T, e, states) ==
  [T EXCEPT !.msg = [m \in Message |-> IF m[1] = e /\ T.msg[m].state \in states THEN [T.msg[m] EXCEPT !.state = "done"]
                                       ELSE T.msg[m]]]

\* The end: close what is open, make the outcome, let the next one begin.
Finish(T, e, what, m) ==
  LET ended == Create(CloseAll(Append1(T, what, e, m), e, OPEN), <<e, "outcome">>, 0, "")
  IN IF ended.current # e THEN [ended EXCEPT !.waiting = SelectSeq(@, LAMBDA other : other # e)]
     ELSE IF ended.waiting = <<>> THEN [ended EXCEPT !.current = ""]
     ELSE Wake([ended EXCEPT !.current = Head(ended.waiting), !.waiting = Tail(@)], Head(ended.waiting), "turn")

\* After a cancel: close what nobody works on; end the evaluation if that was all.
Halt(T, e) ==
  LET halted == CloseAll(T, e, {"ready", "delayed"})
  IN IF \E m \in Message : m[1] = e /\ halted.msg[m].state = "leased" THEN halted
     ELSE Finish(halted, e, "EvaluationCancelled", "")

Die(m) ==
  LET e == m[1]
      T == [S EXCEPT !.msg[m].state = "dead"]
      D == Append1(T, "StepDied", e, m[2])
  IN IF Ended(S, e) THEN T
     ELSE IF Stopping(S, e) THEN Halt(D, e)
     ELSE IF m[2] \in {"call0", "call1"} THEN Wake(D, e, msg[m].wakes)
     ELSE Finish(D, e, "EvaluationFailed", m[2])

Becomes(T) == msg' = T.msg /\ ledger' = T.ledger /\ current' = T.current /\ waiting' = T.waiting
Act(what) == act' = IF Traced THEN what ELSE act
Held(m) == msg[m].held /\ msg[m].state \in OPEN

----------------------------------------------------------------------------
Send(e) ==
  /\ msg[<<e, "turn">>].state = "none"
  /\ Becomes(IF current = "" THEN [Create(S, <<e, "turn">>, 0, "") EXCEPT !.current = e]
             ELSE [Create(S, <<e, "turn">>, 1, "") EXCEPT !.waiting = Append(@, e)])
  /\ Act(<<"Send", e>>)

Claim(m) ==
  /\ msg[m].state = "ready"
  /\ Becomes([S EXCEPT !.msg[m].state = "leased", !.msg[m].held = TRUE])
  /\ Act(<<"Claim", m[1], m[2]>>)

Extend(m) ==
  /\ Held(m)
  /\ Becomes(Move(S, m, "leased"))
  /\ Act(<<"Extend", m[1], m[2]>>)

Shapes(m) == IF m[2] = "turn" /\ m[1] \in Calling THEN {"ends", "side by side", "in order"} ELSE {"ends"}
Event(m) == IF m[2] \in {"call0", "call1"} THEN "ToolReturned" ELSE "ModelResponded"

Settle(m, shape) ==
  LET e == m[1]
      closed == [S EXCEPT !.msg[m].state = "done"]
      told == Append1(closed, Event(m), e, m[2])
      calls == IF shape = "side by side"
               THEN Create(Create(Create(told, <<e, "call0">>, 0, "second"), <<e, "call1">>, 0, "second"), <<e, "second">>, 2, "")
               ELSE Create(Create(Create(told, <<e, "call0">>, 0, "call1"), <<e, "call1">>, 1, "second"), <<e, "second">>, 1, "")
  IN
  /\ Held(m)
  /\ shape \in Shapes(m)
  /\ Becomes(
       IF m[2] = "outcome" THEN closed
       ELSE IF m[2] \in {"turn", "second"} /\ shape = "ends" THEN Finish(told, e, "EvaluationSucceeded", m[2])
       ELSE IF Stopping(S, e) THEN Halt(told, e)
       ELSE IF m[2] = "turn" THEN calls
       ELSE Wake(told, e, msg[m].wakes))
  /\ Act(<<"Settle", m[1], m[2], shape>>)

Nack(m) ==
  /\ Held(m)
  /\ LET T == [S EXCEPT !.msg[m].held = FALSE]
     IN Becomes(IF Stopping(S, m[1]) THEN Halt(Move(T, m, "done"), m[1]) ELSE Move(T, m, "ready"))
  /\ Act(<<"Nack", m[1], m[2]>>)

Bury(m) ==
  /\ Held(m)
  /\ Becomes(Die(m))
  /\ Act(<<"Bury", m[1], m[2]>>)

Cancel(e) ==
  /\ msg[<<e, "turn">>].state # "none"
  /\ ~Has(S, "CancelRequested", e)
  /\ ~Ended(S, e)
  /\ Becomes(Halt(Append1(S, "CancelRequested", e, ""), e))
  /\ Act(<<"Cancel", e>>)

\* A lease ran out, and the reaper looked.
Expire(m) ==
  /\ msg[m].state = "leased"
  /\ Becomes(IF Stopping(S, m[1]) THEN Halt(Move(S, m, "done"), m[1]) ELSE Move(S, m, "ready"))
  /\ Act(<<"Expire", m[1], m[2]>>)

\* The deadline of the turn that waits for its calls.
Due(m) ==
  /\ Limited
  /\ m[2] = "second"
  /\ msg[m].state = "delayed"
  /\ Becomes([S EXCEPT !.msg[m].state = "ready", !.msg[m].late = TRUE])
  /\ Act(<<"Due", m[1], m[2]>>)

Command ==
  \/ \E e \in Evaluation : Send(e)
  \/ \E m \in Message : Claim(m)
  \/ \E m \in Message : Extend(m)
  \/ \E m \in Message, shape \in {"ends", "side by side", "in order"} : Settle(m, shape)
  \/ \E m \in Message : Nack(m)
  \/ \E m \in Message : Bury(m)
  \/ \E e \in Evaluation : Cancel(e)
  \/ \E m \in Message : Expire(m)
  \/ \E m \in Message : Due(m)

Next == Command

\* Messages that are ready are claimed, and steps end: retries are bounded (Mailbox.tla), so none is tried for ever.
Fairness == \A m \in Message : WF_vars(Claim(m)) /\ SF_vars(\E shape \in {"ends", "in order"} : Settle(m, shape))
Spec == Init /\ [][Next]_vars
FairSpec == Spec /\ Fairness

----------------------------------------------------------------------------
(* DESIGN 6, by number. *)

\* 1.
OneState == \A m \in Message : msg[m].state \in OPEN \union {"none", "done", "dead"}
ClosedStaysClosed ==
  [][\A m \in Message : msg[m].state \in {"done", "dead"} => msg'[m].state = msg[m].state]_view

\* 2, seen from a cancel: what a worker has in its hands is not taken from it.
WorkIsKept == [][\A m \in Message : act'[1] = "Cancel" /\ msg[m].state = "leased" => msg'[m].state = "leased"]_view

\* 3. No accepted message disappears, nor waits for what never comes.
NothingLost ==
  \A e \in Evaluation : msg[<<e, "turn">>].state # "none" /\ ~Ended(S, e) =>
    IF e = current THEN \E m \in Message : m[1] = e /\ msg[m].state \in {"ready", "leased"}
    ELSE /\ \E i \in DOMAIN waiting : waiting[i] = e
         /\ current # ""
         /\ ~Ended(S, current)

\* 5. The events of a step are in the ledger at most once: a call is answered once, by its tool or by its death.
RecordedOnce ==
  \A i, j \in DOMAIN ledger : i # j => <<ledger[i][2], ledger[i][3]>> # <<ledger[j][2], ledger[j][3]>>
    \/ ledger[i][3] = "" \/ ledger[i][1] \in TERMINAL \/ ledger[j][1] \in TERMINAL

\* 7. Exactly one terminal event, which is the last, and all is closed but the outcome.
OneEnd ==
  \A i \in DOMAIN ledger : ledger[i][1] \in TERMINAL => \A j \in DOMAIN ledger : j > i => ledger[j][2] # ledger[i][2]
EndClosesAll ==
  \A e \in Evaluation : Ended(S, e) =>
    /\ msg[<<e, "outcome">>].state # "none"
    /\ \A m \in Message : m[1] = e /\ m[2] # "outcome" => msg[m].state \notin OPEN
OutcomeDelivered ==
  \A e \in Evaluation :
    msg[<<e, "turn">>].state # "none" ~> Ended(S, e) /\ msg[<<e, "outcome">>].state \in {"done", "dead"}

\* Fan-in: the turn after the calls begins when all of them are answered, or when it is late.
FanIn ==
  \A e \in Evaluation : msg[<<e, "second">>].state \in {"ready", "leased"} /\ ~msg[<<e, "second">>].late =>
    \A kind \in {"call0", "call1"} : msg[<<e, kind>>].state \in {"done", "dead"}
InOrder ==
  \A e \in Evaluation : msg[<<e, "call0">>].wakes = "call1" /\ msg[<<e, "call1">>].state \in {"ready", "leased"} =>
    msg[<<e, "call0">>].state \in {"done", "dead"}

\* A session runs one evaluation at a time.
OneAtATime ==
  \A e \in Evaluation : e # current => \A m \in Message :
    m[1] = e /\ m[2] # "outcome" => msg[m].state \notin {"ready", "leased"}

(* Witnesses: each must be violated. *)
NoDeadCallAnswers == ~\E e \in Evaluation : msg[<<e, "call0">>].state = "dead" /\ msg[<<e, "second">>].state = "done"
  /\ Has(S, "EvaluationSucceeded", e)
NoLateTurn == ~\E e \in Evaluation : msg[<<e, "second">>].late /\ msg[<<e, "second">>].state = "leased"
NoCancelledByTheLastStep == ~\E e \in Evaluation : Has(S, "ToolReturned", e) /\ Has(S, "EvaluationCancelled", e)
NoCancelledWhileWaiting == ~\E e \in Evaluation : e # current /\ Has(S, "EvaluationCancelled", e)
  /\ current # "" /\ ~Ended(S, current)
NoSuccessAfterCancel == ~\E e \in Evaluation : Has(S, "CancelRequested", e) /\ Has(S, "EvaluationSucceeded", e)
=============================================================================
