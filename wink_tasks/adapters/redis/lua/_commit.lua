-- Fragment: the writes, after every key that they need was read: so no command fails once it has begun to write, nor on
-- a slot that migrates. They begin with a ZREM, which lets them pass at maxmemory, unless they take on new work.
-- Needs _work, _message.
local INDEXED = {ready = true, leased = true, dead = true}

-- What is kept of a closed message, for the hour in which it still answers.
local KEPT = {'kind', 'mailbox', 'task', 'tenant', 'session', 'state', 'epoch', 'deliveries', 'pardoned', 'owner',
  'last', 'answer'}

-- Bring the indexes in line with where the message is now.
local function index(m, dues, undues)
  if m.due == '0' then undues[#undues + 1] = m.id else dues[#dues + 1], dues[#dues + 2] = m.due, m.id end
  if m.was == m.state then return end
  if INDEXED[m.was] then write('ZREM', base .. m.was .. ':' .. m.mailbox, m.id) end
  if INDEXED[m.state] then write('ZADD', base .. m.state .. ':' .. m.mailbox, at(now), m.id) end
  local open = base .. m.tenant .. ':open:' .. m.evaluation
  if not OPEN[m.was] then write('SADD', open, m.id) elseif not OPEN[m.state] then write('SREM', open, m.id) end
end

local function commit(new_work)
  local dues, undues = {'ZADD', due}, {'ZREM', due, ''}
  for fields, changed in pairs(changes) do
    local key = key_of[fields]
    local command = {'HSET', key}
    if messages[fields.id] == fields then index(fields, dues, undues) end
    if fields.state == 'done' then
      changed = {}
      for _, name in ipairs(KEPT) do changed[name] = fields[name] end
      write('DEL', key)
    end
    for name, value in pairs(changed) do
      command[#command + 1], command[#command + 2] = name, value
    end
    write(unpack(command))
    if fields.state == 'done' then write('EXPIRE', key, HOUR) end
  end
  if dues[3] then write(unpack(dues)) end
  if not new_work or undues[4] then table.insert(writes, new_work and #writes + 1 or 1, undues) end
  for _, command in ipairs(writes) do
    if not rows[command[2]] then rows[command[2]] = call('EXISTS', command[2]) end
  end
  for _, command in ipairs(writes) do call(unpack(command)) end
end
