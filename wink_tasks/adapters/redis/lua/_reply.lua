-- Fragment: what a command answers, and answers again to the same nonce. Needs _work, _message, _session.

-- A message in the hands of its claimer. Events after `after` are told up to `last` ('+': all); '' asks for none.
local function hand(m, after, last)
  local e, s, read, tail = evaluation_of(m), session_of(m), {}, {}
  local ledger = base .. s.tenant .. ':ledger:' .. s.id
  local function pick(seq) read[#read + 1] = call('XRANGE', ledger, seq .. '-0', seq .. '-0')[1] end
  if m.sent.kind == 'call' or m.sent.kind == 'outcome' then pick(e.accepted_seq) end
  for seq in string.gmatch(m.reads, '%d+') do pick(seq) end
  if after ~= '' then tail = call('XRANGE', ledger, (after + 1) .. '-0', last) end
  local cancelled = stopping(e) and 1 or 0
  local held_back, started_at = e.paused == m.id and 1 or 0, e.started_at
  local last = tonumber(m.lost or 0) > 0 and m.deliveries - m.pardoned > m.sent.max_retries and 1 or 0
  if e.paused and e.paused ~= '' then started_at = at(started_at + now - e.paused_at) end
  return {m.spec, m.reads, m.epoch, m.nonce, m.deliveries, m.pardoned, last, started_at, cancelled, s.head, s.created,
    tail, read, held_back, m.checkpoint or ''}
end

local function rung(ids)
  local specs = {}
  for _, id in ipairs(ids) do
    specs[#specs + 1] = message(id).spec
  end
  return specs
end

-- The ids whose doorbells are to be rung, as they are remembered.
local function ids_of(messages)
  local ids = {}
  for _, m in ipairs(messages) do
    if m.state == 'ready' then ids[#ids + 1] = m.id end
  end
  return table.concat(ids, ' ')
end

local function split(ids)
  local list = {}
  for id in string.gmatch(ids, '%S+') do list[#list + 1] = id end
  return list
end

-- Remember the doorbells under the command's nonce, write, and answer.
local function conclude(fields, nonce, code, new_work)
  set(fields, 'last', nonce)
  set(fields, 'answer', ids_of(bells))
  commit(new_work)
  return {code, rung(split(fields.answer))}
end
