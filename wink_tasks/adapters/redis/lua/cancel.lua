-- cancel: record the wish, close what nobody works on, end the evaluation where nobody works on it. Action: Cancel.
-- Guarantee: CancelRequested is recorded once, and never after the end.
-- KEYS  1 due set
-- ARGV  1 base, 2 now, 3 tenant, 4 session, 5 evaluation, 6 nonce, 7 by, 8 reason, 9 CancelRequested
-- Answer {cancelled, doorbells} | {unknown}
--@include _work
--@include _message
--@include _session
--@include _commit
--@include _end
--@include _reply
local e, s = evaluation(ARGV[3], ARGV[5]), session(ARGV[3], ARGV[4])
if not e.session then return {'unknown'} end
if e.last == ARGV[6] then return {'cancelled', rung(split(e.answer))} end
if e.cancelled == '1' or e.ended_seq ~= '0' then return {'cancelled', {}} end
set(e, 'cancelled', '1')
set(e, 'reason', ARGV[8])
append(s, ARGV[7], ARGV[9])
halt(e, s, ARGV[7])
return conclude(e, ARGV[6], 'cancelled')
