-- wake: make a message ready now that is delayed until a time. Action: Wake.
-- Guarantee: one that waits for others goes on waiting.
-- KEYS  1 due set
-- ARGV  1 base, 2 now, 3 tenant, 4 session, 5 message, 6 nonce
-- Answer {woken, doorbells}
--@include _work
--@include _message
--@include _session
--@include _commit
--@include _reply
local m = message(ARGV[5])
if m.last == ARGV[6] then return {'woken', rung(split(m.answer))} end
local sent = m.state == 'delayed' and tonumber(m.needs) == 0 and m.sent
if not sent or sent.tenant ~= ARGV[3] or sent.session ~= ARGV[4] then return {'woken', {}} end
ring(m, 1)
return conclude(m, ARGV[6], 'woken')
