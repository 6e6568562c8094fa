-- claim: take a message for its visibility timeout, or bury it where it is out of retries. Action: Claim.
-- Guarantee: of all claims between two expiries one wins; its epoch makes every older receipt stale.
-- KEYS  1 due set
-- ARGV  1 base, 2 now, 3 tenant, 4 session, 5 message, 6 nonce, 7 task, 8 owner, 9 after ('': no tail), 10 patient (1, 0),
--       11 seconds by which one on its last delivery, which lost others, is put off (0: it is claimed)
-- Answer {claimed, hand} | {busy} | {gone} | {dead, doorbells}
--@include _work
--@include _message
--@include _session
--@include _commit
--@include _lane
--@include _end
--@include _dead
--@include _reply
local m, nonce = message(ARGV[5]), ARGV[6]
if m.last == nonce then return {'dead', rung(split(m.answer))} end
local sent = OPEN[m.state] and m.sent
if not sent or sent.tenant ~= ARGV[3] or sent.session ~= ARGV[4] or sent.task ~= ARGV[7] then return {'gone'} end
if m.nonce == nonce then return {'claimed', hand(m, ARGV[9], '+')} end
local waits = m.state ~= 'ready' and (not m.when or m.when > now) or m.state == 'leased' and ARGV[10] == '1'
if waits then return {'busy'} end

write('HSET', m.key, 'owner', ARGV[8])
if m.state == 'ready' then arrive(m) elseif m.state == 'leased' then set(m, 'lost', (m.lost or 0) + 1) end
lease(m, ARGV[8], nonce)
local tried = m.deliveries - m.pardoned
if tried == 1 + sent.max_retries and tonumber(m.lost or 0) > 0 and tonumber(ARGV[11]) > 0 then
  -- Claimed and given back in one: its claimer may be killed by what it works on at any time.
  set(m, 'pardoned', m.pardoned + 1)
  set(m, 'nonce', '')
  set(m, 'owner', '')
  move(m, 'delayed', now + ARGV[11])
  commit()
  return {'busy'}
end
if tried > 1 + sent.max_retries then
  if at_most_once(sent) then bury_unknown(m, m.error or '', ARGV[8])
  else
    local reason = tried - 1 .. ' deliveries did not end it (max_retries ' .. sent.max_retries .. ')'
    bury(m, reason, m.error or '', ARGV[8])
  end
  return conclude(m, nonce, 'dead', true)
end
commit(true)
return {'claimed', hand(m, ARGV[9], '+')}
