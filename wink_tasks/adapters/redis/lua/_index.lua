-- Fragment: what is found by where a message is. Needs _work, _message.
local INDEXED = {ready = true, leased = true, dead = true}

-- Bring the indexes in line with where the message is now.
local function index(m, dues, undues)
  local was, state, sent = m.was, m.state, m.sent
  if m.when then
    local when = at(m.when)
    set(m, 'due', when)
    dues[#dues + 1], dues[#dues + 2] = when, m.id
  else
    set(m, 'due', '0')
    undues[#undues + 1] = m.id
  end
  local lane = lane_of(sent)
  if m.again and state == 'ready' then
    local lanes = row(base .. 'lanes')
    if not lanes[lane] then set(lanes, lane, '0 0 0 0 0 -') end
    write('ZADD', base .. 'rung:' .. lane, m.bell, m.id)
    write('ZADD', base .. 'unconfirmed', at(m.again), m.id)
  elseif was == 'ready' and state ~= was then
    write('ZREM', base .. 'rung:' .. lane, m.id)
    write('ZREM', base .. 'unconfirmed', m.id)
  end
  if was == state then return end
  if INDEXED[was] then write('ZREM', base .. was .. ':' .. sent.mailbox, m.id) end
  if INDEXED[state] then write('ZADD', base .. state .. ':' .. sent.mailbox, stamp, m.id) end
  if state == 'dead' then write('SADD', base .. 'buried', sent.mailbox) end
  local open = base .. sent.tenant .. ':open:' .. sent.evaluation
  if OPEN[state] and not OPEN[was] then write('SADD', open, m.id)
  elseif OPEN[was] and not OPEN[state] then write('SREM', open, m.id) end
end
