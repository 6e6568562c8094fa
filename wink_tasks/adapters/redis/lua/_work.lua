-- Fragment: the time, and a unit of work. Reads happen as the command goes, changes are only noted until commit().
local due, base, now, call = KEYS[1], ARGV[1], tonumber(ARGV[2]), redis.call
if not now then
  local time = call('TIME')
  now = time[1] + math.floor(time[2] / 1000) / 1000
end
local HOUR = 3600
local rows, key_of, changes, writes = {}, {}, {}, {}

local function at(seconds) return string.format('%.3f', seconds) end

local function write(...) writes[#writes + 1] = {...} end

local function row(key)
  local fields = rows[key]
  if not fields then
    local flat = call('HGETALL', key)
    fields = {}
    for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
    rows[key], key_of[fields] = fields, key
  end
  return fields
end

local function set(fields, name, value)
  value = tostring(value)
  if fields[name] == value then return end
  fields[name] = value
  local changed = changes[fields]
  if not changed then
    changed = {}
    changes[fields] = changed
  end
  changed[name] = value
end
