-- forget: drop rejected messages. Action: none.
-- Guarantee: what is dropped makes room again.
-- KEYS  1 rejected, 2 rejections
-- ARGV  1 nonce, 2... ids
-- Answer how many there were
local call = redis.call
local memory, count, freed = call('HMGET', KEYS[2], 'dropped_by', 'dropped', 'bytes'), 0, 0
if memory[1] == ARGV[1] then return tonumber(memory[2]) end
for i = 2, #ARGV do
  local entry = call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
  if entry then
    call('XDEL', KEYS[1], ARGV[i])
    count, freed = count + 1, freed + #entry[2][2] + #entry[2][4]
  end
end
call('HSET', KEYS[2], 'dropped_by', ARGV[1], 'dropped', count, 'bytes', (memory[3] or 0) - freed)
return count
