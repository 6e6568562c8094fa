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

local function append(s, actor, event)
  if not s.hset then
    set(s, 'updated', stamp)
    write('ZADD', base .. 'sessions', stamp, s.tenant .. ':' .. s.id)
  end
  set(s, 'head', s.head + 1)
  local time = string.format('%.0f', now * 1000)
  write('XADD', base .. s.tenant .. ':ledger:' .. s.id, s.head .. '-0', 't', time, 'a', actor, 'v', VERSION, 'e', event)
end

local function tell(what, e, id)
  write('XADD', base .. 'feed', 'MAXLEN', '~', '10000', '*', 'what', what, 'tenant', e.tenant, 'session', e.session,
    'evaluation', e.id, 'message', id)
end

-- Owe a message. Of what it reads, numbers up to zero count from `first`; `seq` is one more event that it reads.
local function create(spec, first, seq)
  local sent = cjson.decode(spec)
  local m, reads = {id = sent.id, key = base .. 'message:' .. sent.id, sent = sent, new = true}, sent.reads
  rows[m.key] = m
  for i, read in ipairs(reads) do reads[i] = read > 0 and read or first - read end
  reads[#reads + 1] = seq
  m.spec, m.reads, m.needs, m.epoch, m.deliveries, m.pardoned = spec, table.concat(reads, ' '), sent.needs, 0, 0, 0
  m.hset = {'HSET', m.key, 'spec', spec, 'reads', m.reads, 'needs', m.needs, 'epoch', 0, 'deliveries', 0, 'pardoned', 0}
  changed[#changed + 1] = m
  return m
end

local function lease(m, owner, nonce)
  local e, s = evaluation_of(m), session_of(m)
  touches[#touches + 1] = base .. s.tenant .. ':ledger:' .. s.id
  set(m, 'epoch', m.epoch + 1)
  set(m, 'deliveries', m.deliveries + 1)
  set(m, 'owner', owner)
  set(m, 'nonce', nonce)
  move(m, 'leased', now + m.sent.visibility_timeout)
  if e.ended_seq == '0' and e.status ~= 'STARTED' then
    set(e, 'status', 'STARTED')
    set(e, 'started_at', stamp)
  end
end
