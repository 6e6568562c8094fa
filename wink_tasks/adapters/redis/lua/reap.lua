-- reap: expired leases and delayed messages become ready, ready ones ring again. Action: Expire, Due, Ring.
-- Guarantee: any number of reapers at once is safe; a message that is owed always has a time at which it is looked at.
-- KEYS  1 due set
-- ARGV  1 base, 2 now, 3 limit, 4 nonce
-- Answer {reaped, doorbells}
--@include _work
--@include _message
--@include _session
--@include _commit
--@include _end
--@include _reply
local memory = row(base .. 'reaped')
if memory.last == ARGV[4] then return {'reaped', rung(split(memory.answer))} end
local ids = call('ZRANGEBYSCORE', due, '-inf', stamp, 'LIMIT', 0, ARGV[3])
if #ids == 0 then return {'reaped', {}} end
for _, id in ipairs(ids) do
  local m = message(id)
  if not OPEN[m.state] then
    write('ZREM', due, id)
  elseif m.when and m.when <= now then
    local e = evaluation_of(m)
    if m.state == 'leased' and stopping(e) then
      close(m)
      halt(e, session_of(m), 'reaper')
    else
      if m.state == 'leased' then tell('recovered', e, id) end
      ring(m, m.state == 'ready' and m.rings + 1 or 1)
    end
  end
end
return conclude(memory, ARGV[4], 'reaped')
