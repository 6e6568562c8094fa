-- bury: make the message a dead letter now. Action: Bury.
-- Guarantee: a dead call counts as answered; a dead turn ends its evaluation; the letter is kept.
-- KEYS  1 due set
-- ARGV  1 base, 2 now, 3 tenant, 4 session, 5 message, 6 nonce, 7 epoch, 8 receipt's nonce, 9 reason, 10 error,
--       11 traceback, 12 error class of its evaluation's end ('': DeadLetteredError)
-- Answer {buried, doorbells} | {stale}
--@include _work
--@include _message
--@include _session
--@include _commit
--@include _end
--@include _dead
--@include _reply
local m = message(ARGV[5])
if m.last == ARGV[6] then return {'buried', rung(split(m.answer))} end
if not holds(m, ARGV[7], ARGV[8]) then return {'stale'} end
set(m, 'traceback', ARGV[11])
bury(m, ARGV[9], ARGV[10], m.owner, ARGV[12] ~= '' and ARGV[12] or nil)
return conclude(m, ARGV[6], 'buried')
