-- claim: take a message for its visibility timeout, or bury it where it is out of retries. Action: Claim.
-- Guarantee: of all claims between two expiries one wins; its epoch makes every older receipt stale.
-- KEYS  1 due set
-- ARGV  1 base, 2 now, 3 tenant, 4 session, 5 message, 6 nonce, 7 task, 8 owner, 9 after ('': no tail)
-- Answer {claimed, hand} | {busy} | {gone} | {dead, doorbells}
--@include _work
--@include _message
--@include _session
--@include _commit
--@include _end
--@include _reply
local m, nonce = message(ARGV[5]), ARGV[6]
if m.last == nonce then return {'dead', rung(split(m.answer))} end
local sent = OPEN[m.state] and m.sent
if not sent or sent.tenant ~= ARGV[3] or sent.session ~= ARGV[4] or sent.task ~= ARGV[7] then return {'gone'} end
if m.nonce == nonce then return {'claimed', hand(m, ARGV[9], '+')} end
local waits = m.state ~= 'ready' and (not m.when or m.when > now)
if waits then return {'busy'} end

write('HSET', m.key, 'owner', ARGV[8])
lease(m, ARGV[8], nonce)
local tried = m.deliveries - m.pardoned
if tried > 1 + sent.max_retries then
  bury(m, tried - 1 .. ' deliveries did not end it (max_retries ' .. sent.max_retries .. ')', m.error or '', ARGV[8])
  return conclude(m, nonce, 'dead', true)
end
commit(true)
return {'claimed', hand(m, ARGV[9], '+')}
