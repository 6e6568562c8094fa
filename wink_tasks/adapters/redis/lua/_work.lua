-- Fragment: the time, and a unit of work. Reads happen as the command goes, writes are only noted: commit() reads every
-- key that it will write, then writes. So no command can fail once it has begun to write, nor on a slot that migrates.
local due, base, now, call = KEYS[1], ARGV[1], tonumber(ARGV[2]), redis.call
if not now then
  local time = call('TIME')
  now = time[1] + math.floor(time[2] / 1000) / 1000
end

-- What is kept of a closed message, for the hour in which it still answers.
local KEPT = {'kind', 'mailbox', 'task', 'tenant', 'session', 'state', 'epoch', 'deliveries', 'pardoned', 'owner',
  'last', 'answer'}
local HOUR = 3600
local writes, rows, key_of, changes, closed = {}, {}, {}, {}, {}

local function at(seconds) return string.format('%.3f', seconds) end

local function write(...) writes[#writes + 1] = {...} end

local function row(key)
  if not rows[key] then
    local flat, fields = call('HGETALL', key), {}
    for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
    rows[key], key_of[fields] = fields, key
  end
  return rows[key]
end

local function set(fields, name, value)
  fields[name] = tostring(value)
  changes[fields] = changes[fields] or {}
  changes[fields][name] = fields[name]
end

local function commit()
  for fields, changed in pairs(changes) do
    local key, command = key_of[fields], {'HSET', key_of[fields]}
    if closed[fields] then
      changed = {}
      for _, name in ipairs(KEPT) do changed[name] = fields[name] end
      write('DEL', key)
    end
    for name, value in pairs(changed) do
      command[#command + 1] = name
      command[#command + 1] = value
    end
    write(unpack(command))
    if closed[fields] then write('EXPIRE', key, HOUR) end
  end
  local touched = {}
  for _, command in ipairs(writes) do
    if not touched[command[2]] then touched[command[2]] = call('EXISTS', command[2]) end
  end
  for _, command in ipairs(writes) do call(unpack(command)) end
end
