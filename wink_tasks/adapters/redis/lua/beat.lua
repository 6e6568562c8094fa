-- beat: show that a worker is alive, and elect the reaper. Action: none, any number of reapers is safe.
-- Guarantee: at most one worker is the reaper at a time; it stays so while it beats within its term. The others take
-- turns, `spacing` apart, so that one of them looks soon after a term has ended, however many they are.
-- KEYS  1 workers (id -> time and description), 2 alive (id by the end of its life), 3 reaper (name, until, turn,
--       nonce, vacant)
-- ARGV  1 now (''), 2 id, 3 description, 4 seconds between beats, 5 term of a reaper, 6 spacing,
--       7 nonce
-- Answer {1 where this worker is the reaper else 0, seconds to its next beat, seconds for which there was no reaper}
local call, now = redis.call, tonumber(ARGV[1])
if not now then
  local time = call('TIME')
  now = time[1] + math.floor(time[2] / 1000) / 1000
end
local function at(seconds) return string.format('%.3f', seconds) end
local reaper = call('HMGET', KEYS[3], 'name', 'until', 'turn', 'nonce', 'vacant')
local gone = call('ZRANGEBYSCORE', KEYS[2], '-inf', now)
local name, over, turn = reaper[1], tonumber(reaper[2] or now), tonumber(reaper[3] or now)
local elected = name == ARGV[2] or over <= now
local vacant = reaper[4] == ARGV[7] and tonumber(reaper[5]) or math.max(0, now - over)
turn = math.max(turn + ARGV[6], over)
local pause = elected and tonumber(ARGV[4]) or turn - now
call('HSET', KEYS[1], ARGV[2], at(now) .. ' ' .. ARGV[3])
call('ZADD', KEYS[2], at(now + 2 * pause + 3 * ARGV[4]), ARGV[2])
for _, member in ipairs(gone) do
  if member ~= ARGV[2] then
    call('HDEL', KEYS[1], member)
    call('ZREM', KEYS[2], member)
  end
end
if elected then
  call('HSET', KEYS[3], 'name', ARGV[2], 'until', at(now + ARGV[5]), 'nonce', ARGV[7], 'vacant', at(vacant))
else
  call('HSET', KEYS[3], 'turn', at(turn))
end
return {elected and 1 or 0, at(pause), at(vacant)}
