-- Fragment: the time, and a unit of work. Reads happen as the command goes, changes are only noted until commit().
local due, base, now, call = KEYS[1], ARGV[1], tonumber(ARGV[2]), redis.call
if not now then
  local time = call('TIME')
  now = time[1] + math.floor(time[2] / 1000) / 1000
end
local function at(seconds) return string.format('%.3f', seconds) end
local stamp, rows, changed, writes, touches = at(now), {}, {}, {}, {}

local function write(...) writes[#writes + 1] = {...} end

-- A hash as a table; beside its fields it has `key`, and `hset` where something changed.
local function row(key)
  local fields = rows[key]
  if not fields then
    local flat = call('HGETALL', key)
    fields = {key = key}
    for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
    rows[key] = fields
  end
  return fields
end

local function set(fields, name, value)
  local hset = fields.hset
  if not hset then
    hset = {'HSET', fields.key}
    fields.hset = hset
    changed[#changed + 1] = fields
  end
  local place = hset[name] or #hset + 2
  fields[name], hset[name], hset[place - 1], hset[place] = value, place, name, value
end
