-- stage: bring some events of a session that is being restored. Action: none, the model does not restore.
-- Guarantee: nobody reads them before `restore`; an hour after the last of them came they are gone.
-- KEYS  1 due set
-- ARGV  1 base, 2 now, 3 tenant, 4 session, 5 nonce of the restoration, 6 number of the first of them, then of each its
--       time (ms), actor, format version and JSON
-- Answer {staged}
--@include _work
--@include _message
--@include _commit
local key = base .. ARGV[3] .. ':staged:' .. ARGV[5]
local newest = call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
local seq, last = tonumber(ARGV[6]), newest and tonumber(string.match(newest[1], '^%d+')) or 0
for i = 7, #ARGV, 4 do
  if seq > last then
    write('XADD', key, seq .. '-0', 't', ARGV[i], 'a', ARGV[i + 1], 'v', ARGV[i + 2], 'e', ARGV[i + 3])
  end
  seq = seq + 1
end
write('EXPIRE', key, HOUR)
commit(true)
return {'staged'}
