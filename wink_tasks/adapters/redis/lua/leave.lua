-- leave: a worker is gone, as worker and as reaper. Action: none.
-- Guarantee: nobody waits for a reaper that said that it leaves.
-- KEYS  1 workers, 2 alive, 3 reaper
-- ARGV  1 id
-- Answer 1
local reaper = redis.call('HGET', KEYS[3], 'name')
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
if reaper == ARGV[1] then redis.call('HDEL', KEYS[3], 'name', 'until') end
return 1
