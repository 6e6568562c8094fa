-- reject: count and keep what Celery could not run. Action: none, it is no message of ours.
-- Guarantee: neither the number of what is kept nor its bytes grow beyond their bounds; the oldest go first.
-- KEYS  1 rejected, 2 rejections
-- ARGV  1 nonce, 2 the most that are kept, 3 the most bytes, 4 what is known of it (JSON), 5 body
-- Answer 1
local call = redis.call
local memory = call('HMGET', KEYS[2], 'last', 'bytes')
if memory[1] == ARGV[1] then return 1 end
local kept, bytes, gone = call('XLEN', KEYS[1]) + 1, (memory[2] or 0) + #ARGV[4] + #ARGV[5], {}
local oldest = '-'
while kept > tonumber(ARGV[2]) or bytes > tonumber(ARGV[3]) do
  local entry = call('XRANGE', KEYS[1], oldest, '+', 'COUNT', 1)[1]
  if not entry then break end
  gone[#gone + 1], oldest = entry[1], '(' .. entry[1]
  kept, bytes = kept - 1, bytes - #entry[2][2] - #entry[2][4]
end
for _, id in ipairs(gone) do call('XDEL', KEYS[1], id) end
call('XADD', KEYS[1], '*', 'm', ARGV[4], 'b', ARGV[5])
call('HSET', KEYS[2], 'last', ARGV[1], 'bytes', bytes)
call('HINCRBY', KEYS[2], 'count', 1)
return 1
