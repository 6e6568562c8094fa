-- Fragment: the end of an evaluation, and dead letters. Needs _work, _message, _session.
local quote = cjson.encode

-- Close what is open, make the outcome, and let the next evaluation of the session begin.
local function finish(e, s, status)
  set(e, 'status', status)
  set(e, 'ended_seq', s.head)
  set(e, 'ended_at', stamp)
  for _, id in ipairs(call('SMEMBERS', base .. e.tenant .. ':open:' .. e.id)) do close(message(id)) end
  place(create(e.outcome, 0, s.head))
  write('HDEL', e.key, 'outcome')
  tell('ended', e, '')
  local key = base .. e.tenant .. ':waiting:' .. s.id
  s.waiting = s.waiting or call('LRANGE', key, 0, -1)
  if s.current == e.id then
    occupy(s, table.remove(s.waiting, 1) or '')
    if s.current ~= '' then
      local following = evaluation(e.tenant, s.current)
      write('LPOP', key)
      if following.status == 'WAITING' then set(following, 'status', 'PENDING') end
      wake(following.first)
    end
  else
    for i, id in ipairs(s.waiting) do
      if id == e.id then table.remove(s.waiting, i) end
    end
    write('LREM', key, 1, e.id)
  end
end

-- Close what nobody works on; end the evaluation if that was all.
local function halt(e, s, actor)
  local leased = 0
  for _, id in ipairs(call('SMEMBERS', base .. e.tenant .. ':open:' .. e.id)) do
    local m = message(id)
    if m.state == 'leased' then leased = leased + 1 else close(m) end
  end
  if leased > 0 then return end
  append(s, actor, '{"type":"EvaluationCancelled","evaluation":' .. quote(e.id) .. ',"reason":' .. quote(e.reason) .. '}')
  finish(e, s, 'REVOKED')
end

local function bury(m, reason, fault, actor)
  local e, s = evaluation_of(m), session_of(m)
  move(m, 'dead')
  set(m, 'error', fault)
  set(e, 'dead', (e.dead or '') .. m.id .. ' ')
  tell('buried', e, m.id)
  if e.ended_seq ~= '0' then return end
  append(s, actor, '{"type":"StepDied","evaluation":' .. quote(e.id) .. ',"message":' .. quote(m.id) .. ',"reason":' ..
    quote(reason) .. ',"error":' .. quote(fault) .. (m.sent.call ~= '' and ',"call":' .. quote(m.sent.call) or '') .. '}')
  if stopping(e) then halt(e, s, actor)
  elseif m.sent.kind == 'call' then wake(m.sent.wakes)
  else
    append(s, actor, '{"type":"EvaluationFailed","evaluation":' .. quote(e.id) .. ',"code":"DeadLetteredError","message":' ..
      quote(m.id .. ' is a dead letter: ' .. reason .. (fault ~= '' and '; last error: ' .. fault or '')) .. '}')
    finish(e, s, 'FAILURE')
  end
end
