-- Fragment: messages that come to be, and that are leased. Needs _work, _message, _session.

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
  if tonumber(m.deliveries) == 0 then set(m, 'claimed', stamp) end
  set(m, 'epoch', m.epoch + 1)
  set(m, 'deliveries', m.deliveries + 1)
  set(m, 'owner', owner)
  set(m, 'nonce', nonce)
  move(m, 'leased', now + m.sent.visibility_timeout)
  if e.ended_seq == '0' and e.status ~= 'STARTED' then
    set(e, 'status', 'STARTED')
    if tonumber(e.started_at) == 0 then set(e, 'started_at', stamp) end
  end
end
