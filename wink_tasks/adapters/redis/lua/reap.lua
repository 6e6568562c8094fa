-- reap: expired leases and delayed messages become ready, bells that got lost ring again. Action: Expire, Due, Ring.
-- Guarantee: any number of reapers at once is safe; a message that is owed is always looked at again.
-- KEYS  1 due set
-- ARGV  1 base, 2 now, 3 limit, 4 nonce, 5... lane, before ('': no time), probes (0: none) of each lane to ring in
-- Answer {reaped, doorbells, time, lanes as survey tells}
--@include _work
--@include _message
--@include _session
--@include _commit
--@include _lane
--@include _end
--@include _reply
local memory, limit = row(base .. 'reaped'), ARGV[3]
if memory.last == ARGV[4] then return {'reaped', rung(split(memory.answer)), stamp, survey()} end

for _, id in ipairs(call('ZRANGEBYSCORE', due, '-inf', stamp, 'LIMIT', 0, limit)) do
  local m = message(id)
  if not OPEN[m.state] then
    write('ZREM', due, id)
  elseif m.when and m.when <= now then
    local e, leased = evaluation_of(m), m.state == 'leased'
    if leased and stopping(e) then
      close(m)
      halt(e, session_of(m), 'reaper')
    else
      if leased then
        set(m, 'lost', (m.lost or 0) + 1)
        tell('recovered', e, id)
      end
      ring(m, 1)
    end
  end
end
for _, id in ipairs(call('ZRANGEBYSCORE', base .. 'unconfirmed', '-inf', stamp, 'LIMIT', 0, limit)) do
  local m = message(id)
  if m.state == 'ready' and not m.again then ring(m, m.rings + 1) end
end
for i = 5, #ARGV, 3 do ring_lane(ARGV[i], ARGV[i + 1], ARGV[i + 2], limit) end

if #changed == 0 and #writes == 0 then return {'reaped', {}, stamp, survey()} end
for _, name in ipairs(lanes()) do touches[#touches + 1] = base .. 'rung:' .. name end
local answer = conclude(memory, ARGV[4], 'reaped')
return {answer[1], answer[2], stamp, survey()}
