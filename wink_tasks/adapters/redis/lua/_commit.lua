-- Fragment: the writes, after every key that they need was read: so no command fails once it has begun to write, nor on
-- a slot that migrates. They begin with a ZREM, which lets them pass at maxmemory, unless they take on new work.
-- Needs _work, _message.
--@include _index
local HOUR = 3600
-- For an hour a closed message still answers, and is asked about.
local function retire(m)
  local sent = m.sent
  local kept = {m.last or '', m.answer or '', sent.kind, sent.mailbox, sent.task, sent.tenant, sent.session, m.epoch,
    m.deliveries, m.pardoned, m.owner or ''}
  write('DEL', m.key)
  write('SET', base .. 'closed:' .. m.id, table.concat(kept, '\n'), 'EX', HOUR)
end

-- Lua unpacks some thousand values at most; an even number keeps pairs together.
local function run(command)
  for i = 3, math.max(3, #command), 1000 do
    call(command[1], command[2], unpack(command, i, math.min(i + 999, #command)))
  end
end

local function commit(new_work)
  local dues, undues, keys, seen = {'ZADD', due}, {'ZREM', due, ''}, {'EXISTS', due, unpack(touches)}, {}
  for _, fields in ipairs(changed) do
    if fields.sent then index(fields, dues, undues) end
    if fields.state == 'done' then retire(fields) else writes[#writes + 1] = fields.hset end
  end
  if dues[3] then writes[#writes + 1] = dues end
  if not new_work then table.insert(writes, 1, undues) elseif undues[4] then writes[#writes + 1] = undues end
  for _, command in ipairs(writes) do
    local key = command[2]
    if not (seen[key] or rows[key] and not rows[key].new) then seen[key], keys[#keys + 1] = true, key end
  end
  run(keys)
  for _, command in ipairs(writes) do run(command) end
end
