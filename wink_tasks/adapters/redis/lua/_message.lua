-- Fragment: what may become of a message; twin of core/delivery.py.
local FIELDS = {'id', 'mailbox', 'kind', 'task', 'tenant', 'session', 'evaluation', 'wakes', 'call', 'needs',
  'not_before', 'limit_at', 'max_retries', 'visibility_timeout', 'reads', 'spec'}
local OPEN = {ready = true, delayed = true, leased = true}
local messages, bells = {}, {}

local function message(id)
  local m = messages[id]
  if not m then
    m = row(base .. 'message:' .. id)
    m.id, m.was = id, m.state
    messages[id] = m
  end
  return m
end

local function move(m, state, when)
  set(m, 'state', state)
  set(m, 'due', when and at(when) or '0')
end

local function ring(m, rings)
  set(m, 'rings', rings)
  move(m, 'ready', now + math.min(300, 5 * 2 ^ math.min(rings - 1, 16)))
  bells[#bells + 1] = m
end

local function place(m)
  local start, limit = tonumber(m.not_before), tonumber(m.limit_at)
  if tonumber(m.needs) > 0 then move(m, 'delayed', limit)
  elseif start > now then move(m, 'delayed', math.min(start, limit or start))
  else ring(m, 1) end
end

local function wake(id)
  local m = message(id)
  if OPEN[m.state] and tonumber(m.needs) > 0 then
    set(m, 'needs', m.needs - 1)
    if m.needs == '0' and m.state == 'delayed' then place(m) end
  end
end

local function close(m)
  if OPEN[m.state] then move(m, 'done') end
end

local function holds(m, epoch, nonce) return OPEN[m.state] and m.epoch == epoch and m.nonce == nonce end
