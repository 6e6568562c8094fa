-- Fragment: what is known of the bells of a lane; twin of Lane in core/delivery.py. Needs _work, _message.
local AGAIN = 5

-- passed, claimed, probed, awaited, probes, probe
local function lane(name)
  local fields = {}
  for field in string.gmatch(row(base .. 'lanes')[name] or '0 0 0 0 0 -', '%S+') do fields[#fields + 1] = field end
  return fields
end

-- A bell of m has arrived: its first one or a later one, so all that rang before its first have arrived or never will.
-- Where m was rung because its lane was silent, and is claimed at once, that holds for all that rang before it rang again.
local function arrive(m)
  local name = lane_of(m.sent)
  local fields = lane(name)
  local answers = fields[6] == m.id
  local rung = answers and now - fields[3] <= AGAIN and fields[3] or m.rung
  if tonumber(rung) > tonumber(fields[1]) then fields[1] = rung end
  fields[2] = stamp
  if answers then fields[5], fields[6] = 0, '-' end
  set(row(base .. 'lanes'), name, table.concat(fields, ' '))
end

-- Ring again those that rang before `before`, and where `probes` tells how many bells were in vain, the newest one.
local function ring_lane(name, before, probes, limit)
  local key = base .. 'rung:' .. name
  local ids = before == '' and {} or call('ZRANGEBYSCORE', key, '-inf', before, 'LIMIT', 0, limit)
  for _, id in ipairs(ids) do
    local m = message(id)
    if m.state == 'ready' and not m.again then ring(m, m.rings + 1) end
  end
  local newest = probes ~= '0' and call('ZRANGE', key, -1, -1)[1]
  local m = newest and message(newest)
  if m and m.state == 'ready' and not m.again then
    local fields = lane(name)
    ring(m, m.rings + 1)
    fields[3], fields[4], fields[5], fields[6] = m.bell, m.rung, probes, m.id
    set(row(base .. 'lanes'), name, table.concat(fields, ' '))
  end
end

local function lanes()
  local names = {}
  for name in pairs(row(base .. 'lanes')) do
    if string.find(name, ':', 1, true) then names[#names + 1] = name end
  end
  return names
end

-- For each lane: its name, what is known of it, and when the oldest and the newest bell of those that wait rang.
local function survey()
  local found = {}
  for i, name in ipairs(lanes()) do
    local key = base .. 'rung:' .. name
    local oldest, newest = call('ZRANGE', key, 0, 0, 'WITHSCORES'), call('ZRANGE', key, -1, -1, 'WITHSCORES')
    found[i] = {name, lane(name), oldest[2] or false, newest[2] or false}
  end
  return found
end
