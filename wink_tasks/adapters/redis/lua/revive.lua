-- revive: try a dead letter again, or close it where that would change nothing. Action: Revive.
-- Guarantee: an evaluation goes on only from the death that ended it; every receipt from before stays void.
-- KEYS  1 due set
-- ARGV  1 base, 2 now, 3 tenant, 4 session, 5 message, 6 nonce, 7 by
-- Answer {ready|waiting|answered|ended, doorbells} | {early, {}} | {alive, state ('': unknown)}
--@include _work
--@include _message
--@include _session
--@include _commit
--@include _clock
--@include _end
--@include _dead
--@include _reply
local m, by = message(ARGV[5]), ARGV[7]

local function reply()
  local effect, ids = string.match(m.answer, '^(%S+) ?(.*)$')
  return {effect, rung(split(ids))}
end

if m.last == ARGV[6] then return reply() end
local sent = m.state == 'dead' and m.sent
if not sent or sent.tenant ~= ARGV[3] or sent.session ~= ARGV[4] then return {'alive', m.state or ''} end
local e, s, effect = evaluation_of(m), session_of(m), 'ready'
if sent.kind == 'call' then effect = 'answered'
elseif sent.kind == 'outcome' then
  if e.ended_seq == '0' or m.id ~= outcome_id(e) then effect = 'ended' end
elseif e.died ~= m.id then effect = 'ended'
elseif call('EXISTS', base .. e.tenant .. ':open:' .. e.id) == 1 then return {'early', {}} end

unbury(e, {[m.id] = true})
if effect ~= 'ready' then
  move(m, 'done')
else
  append(s, by, '{"type":"StepRevived","evaluation":' .. quote(e.id) .. ',"message":' .. quote(m.id) .. ',"by":' ..
    quote(by) .. '}')
  tell('revived', e, m.id)
  for field, value in pairs({pardoned = m.deliveries, nonce = '', owner = ''}) do set(m, field, value) end
  if sent.kind ~= 'outcome' then
    local seconds, limit = resume(e, s, by, e.ended_at), tonumber(sent.limit_at)
    set(e, 'resumed', (e.resumed or 0) + 1)
    for field, value in pairs({ended_seq = '0', ended_at = '0', died = '', first = m.id}) do set(e, field, value) end
    if s.current ~= '' then
      effect = 'waiting'
      set(m, 'needs', 1)
      move(m, 'delayed', limit and limit + seconds)
      write('RPUSH', base .. e.tenant .. ':waiting:' .. s.id, e.id)
    else
      occupy(s, e.id)
    end
    set(e, 'status', effect == 'waiting' and 'WAITING' or 'STARTED')
  end
  if effect == 'ready' then ring(m, 1) end
end
set(m, 'last', ARGV[6])
set(m, 'answer', effect .. ' ' .. ids_of(bells))
commit()
return reply()
