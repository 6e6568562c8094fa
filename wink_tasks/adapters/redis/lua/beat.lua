-- beat: show that a worker is alive, and elect the reaper. Action: none, any number of reapers is safe.
-- Guarantee: at most one worker is the reaper at a time; it stays so while it beats within its term.
-- KEYS  1 workers (name -> time and description), 2 alive (name by the end of its life), 3 reaper (name, until)
-- ARGV  1 now (''), 2 name, 3 description, 4 lifetime, 5 term
-- Answer 1 where this worker is the reaper, else 0
local call, now = redis.call, tonumber(ARGV[1])
if not now then
  local time = call('TIME')
  now = time[1] + math.floor(time[2] / 1000) / 1000
end
local reaper, gone = call('HMGET', KEYS[3], 'name', 'until'), call('ZRANGEBYSCORE', KEYS[2], '-inf', now)
local elected = reaper[1] == ARGV[2] or not reaper[1] or tonumber(reaper[2]) <= now
call('HSET', KEYS[1], ARGV[2], string.format('%.3f', now) .. ' ' .. ARGV[3])
call('ZADD', KEYS[2], string.format('%.3f', now + ARGV[4]), ARGV[2])
for _, name in ipairs(gone) do
  if name ~= ARGV[2] then
    call('HDEL', KEYS[1], name)
    call('ZREM', KEYS[2], name)
  end
end
if elected then call('HSET', KEYS[3], 'name', ARGV[2], 'until', string.format('%.3f', now + ARGV[5])) end
return elected and 1 or 0
