-- spare: leases that expired while nobody could renew them are held for another timeout. Action: Extend.
-- Guarantee: only expired leases are changed; who asks twice changes nothing more.
-- KEYS  1 due set
-- ARGV  1 base, 2 now, 3 how many of those that are due to pass over, 4 limit
-- Answer {leases spared, others that are due}
--@include _work
--@include _message
--@include _session
--@include _commit
local spared, others = 0, 0
for _, id in ipairs(call('ZRANGEBYSCORE', due, '-inf', stamp, 'LIMIT', ARGV[3], ARGV[4])) do
  local m = message(id)
  if m.state == 'leased' then
    spared = spared + 1
    move(m, 'leased', now + m.sent.visibility_timeout)
  else
    others = others + 1
  end
end
if spared > 0 then commit() end
return {spared, others}
