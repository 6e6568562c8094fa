-- Fragment: what may become of a message; twin of core/delivery.py. Needs _work. Action: Wake.
-- `sent` is the message as core knows it, `was` its state before the command, `when` the reaper's next look at it.
local OPEN, bells = {ready = true, delayed = true, leased = true}, {}

-- A lane is a mailbox and a priority: a broker hands out its bells in the order of ringing.
local function lane_of(sent) return (tonumber(sent.priority) or '') .. ':' .. sent.mailbox end

local function message(id)
  local m = row(base .. 'message:' .. id)
  if not m.id then
    m.id, m.was, m.when = id, m.state, m.due ~= '0' and tonumber(m.due) or nil
    local closed = not m.spec and call('GET', base .. 'closed:' .. id)
    if m.spec then m.sent = cjson.decode(m.spec) end
    if closed then m.state, m.last, m.answer = 'done', string.match(closed, '^([^\n]*)\n([^\n]*)') end
  end
  return m
end

local function move(m, state, when)
  set(m, 'state', state)
  m.when = when
end

-- Make it ready, and have its doorbell rung for the `rings`-th time. `rung` is when it rang first, `bell` when it did last
-- (a microsecond apart, where they are many), `again` when it rings again unless it is confirmed that it was published.
local function ring(m, rings)
  m.bell = string.format('%.6f', now + #bells / 1e6)
  set(m, 'rings', rings)
  if rings == 1 then set(m, 'rung', m.bell) end
  m.again = now + math.min(60, 5 * 2 ^ math.min(rings - 1, 16))
  move(m, 'ready')
  bells[#bells + 1] = m
end

local function place(m)
  local start, limit = m.sent.not_before, tonumber(m.sent.limit_at)
  if tonumber(m.needs) > 0 then move(m, 'delayed', limit)
  elseif start > now then move(m, 'delayed', math.min(start, limit or start))
  else ring(m, 1) end
end

local function wake(id)
  local m = message(id)
  local needs = OPEN[m.state] and m.needs - 1 or -1
  if needs >= 0 then set(m, 'needs', needs) end
  if needs == 0 and m.state == 'delayed' then place(m) end
end

local function close(m)
  if OPEN[m.state] then move(m, 'done') end
end

local function holds(m, epoch, nonce) return OPEN[m.state] and m.epoch == epoch and m.nonce == nonce end
