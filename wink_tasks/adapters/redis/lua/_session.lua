-- Fragment: sessions, evaluations, and events. Needs _work, _message.
local VERSION = '1'

local function session(tenant, name)
  local s = row(base .. tenant .. ':session:' .. name)
  s.tenant, s.id = tenant, name
  return s
end

local function evaluation(tenant, id)
  local e = row(base .. tenant .. ':evaluation:' .. id)
  e.tenant, e.id = tenant, id
  return e
end

local function session_of(m) return session(m.tenant, m.session) end

local function evaluation_of(m) return evaluation(m.tenant, m.evaluation) end

local function stopping(e) return e.cancelled == '1' and e.ended_seq == '0' end

local function append(s, actor, event)
  if not changes[s] then write('ZADD', base .. 'sessions', at(now), s.tenant .. ':' .. s.id) end
  set(s, 'head', s.head + 1)
  set(s, 'updated', at(now))
  local time = string.format('%.0f', now * 1000)
  write('XADD', base .. s.tenant .. ':ledger:' .. s.id, s.head .. '-0', 't', time, 'a', actor, 'v', VERSION, 'e', event)
end

local function tell(what, e, id)
  write('XADD', base .. 'feed', 'MAXLEN', '~', '10000', '*', 'what', what, 'tenant', e.tenant, 'session', e.session,
    'evaluation', e.id, 'message', id)
end

local function create(values, before, reads)
  local id = values[before + 1]
  local namesake, m = message(id), {id = id, epoch = '0', deliveries = '0', pardoned = '0'}
  if namesake.state then write('DEL', key_of[namesake]) end
  for i = 2, #FIELDS do m[FIELDS[i]] = values[before + i] end
  m.reads = reads
  changes[m], key_of[m], messages[id] = m, key_of[namesake], m
  return m
end

local function lease(m, owner, nonce)
  local e = evaluation_of(m)
  for name, value in pairs({epoch = m.epoch + 1, deliveries = m.deliveries + 1, owner = owner, nonce = nonce}) do
    set(m, name, value)
  end
  move(m, 'leased', now + m.visibility_timeout)
  if e.ended_seq == '0' then
    set(e, 'status', 'STARTED')
    if e.started_at == '0' then set(e, 'started_at', at(now)) end
  end
end
