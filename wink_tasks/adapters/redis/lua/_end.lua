-- Fragment: the end of an evaluation. Needs _work, _message, _session.
--@include _owed
local quote = cjson.encode

-- The message that tells of the end: another one after each time that the evaluation was resumed.
local function outcome_id(e) return e.id .. '~outcome' .. (e.resumed and e.resumed + 1 or '') end

-- Close what is open, make the outcome, and let the next evaluation of the session begin. `died` is the message by whose
-- death it ends: what its outcome is made of is kept, for it may be resumed.
local function finish(e, s, status, died)
  set(e, 'status', status)
  set(e, 'ended_seq', s.head)
  set(e, 'ended_at', stamp)
  for _, id in ipairs(call('SMEMBERS', base .. e.tenant .. ':open:' .. e.id)) do close(message(id)) end
  local outcome = string.gsub(e.outcome, '"id":"[^"]*"', '"id":"' .. outcome_id(e) .. '"', 1)
  place(create(outcome, 0, s.head))
  if died then set(e, 'died', died) else write('HDEL', e.key, 'outcome') end
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
    for i, id in ipairs(s.waiting) do if id == e.id then table.remove(s.waiting, i) end end
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
