-- nack: give the message back; bury it where that was its last delivery. Action: Nack.
-- Guarantee: the receipt is void afterwards; a message of a cancelled evaluation is closed.
-- KEYS  1 due set
-- ARGV  1 base, 2 now, 3 tenant, 4 session, 5 message, 6 nonce, 7 epoch, 8 receipt's nonce, 9 delay, 10 counts (1, 0),
--       11 error, 12 traceback, 13 why an operator holds it back ('': nobody does), 14 begun (1, 0)
-- Answer {nacked, doorbells} | {stale}
--@include _work
--@include _message
--@include _session
--@include _commit
--@include _end
--@include _dead
--@include _reply
local m = message(ARGV[5])
if m.last == ARGV[6] then return {'nacked', rung(split(m.answer))} end
if not holds(m, ARGV[7], ARGV[8]) then return {'stale'} end
local e, owner, delay = evaluation_of(m), m.owner, tonumber(ARGV[9])

if ARGV[10] == '0' then set(m, 'pardoned', m.pardoned + 1) end
if ARGV[11] ~= '' then set(m, 'error', ARGV[11]) end
if ARGV[12] ~= (m.traceback or '') then set(m, 'traceback', ARGV[12]) end
set(m, 'nonce', '')
set(m, 'owner', '')
if ARGV[13] ~= '' and (e.paused or '') == '' and e.ended_seq == '0' and not stopping(e) then
  append(session_of(m), owner, '{"type":"EvaluationPaused","evaluation":' .. quote(e.id) .. ',"reason":' ..
    quote(ARGV[13]) .. '}')
  set(e, 'paused', m.id)
  set(e, 'paused_at', stamp)
  tell('paused', e, m.id)
end
local tried = m.deliveries - m.pardoned
if stopping(e) then
  close(m)
  halt(e, session_of(m), owner)
elseif ARGV[14] == '1' and at_most_once(m.sent) then
  bury_unknown(m, ARGV[11], owner)
elseif ARGV[10] == '1' and tried >= 1 + m.sent.max_retries then
  bury(m, tried .. ' deliveries did not end it (max_retries ' .. m.sent.max_retries .. ')', ARGV[11], owner)
elseif delay > 0 then
  move(m, 'delayed', now + delay)
else
  ring(m, 1)
end
return conclude(m, ARGV[6], 'nacked')
