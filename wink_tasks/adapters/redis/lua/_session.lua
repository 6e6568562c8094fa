-- Fragment: sessions, evaluations, and what they record. Needs _work, _message.
local VERSION = '1'

local function session(tenant, name)
  local s = row(base .. tenant .. ':session:' .. name)
  s.tenant, s.id = tenant, name
  return s
end

-- Let an evaluation run, or none: ''.
local function occupy(s, id)
  set(s, 'current', id)
  write(id == '' and 'SREM' or 'SADD', base .. 'active', s.tenant .. ':' .. s.id)
end

local function evaluation(tenant, id)
  local e = row(base .. tenant .. ':evaluation:' .. id)
  e.tenant, e.id = tenant, id
  return e
end

local function session_of(m) return session(m.sent.tenant, m.sent.session) end

local function evaluation_of(m) return evaluation(m.sent.tenant, m.sent.evaluation) end

local function stopping(e) return e.cancelled == '1' and e.ended_seq == '0' end

-- `nonce` marks the event with the command that wrote it, where the command is to know it again.
local function append(s, actor, event, nonce)
  if not s.hset then
    set(s, 'updated', stamp)
    write('ZADD', base .. 'sessions', stamp, s.tenant .. ':' .. s.id)
  end
  set(s, 'head', s.head + 1)
  local time = string.format('%.0f', now * 1000)
  local entry = {'XADD', base .. s.tenant .. ':ledger:' .. s.id, s.head .. '-0', 't', time, 'a', actor, 'v', VERSION,
    'e', event, nonce and 'n', nonce}
  writes[#writes + 1] = entry
end

local function tell(what, e, id)
  write('XADD', base .. 'feed', 'MAXLEN', '~', '10000', '*', 'what', what, 'tenant', e.tenant, 'session', e.session,
    'evaluation', e.id, 'message', id)
end
