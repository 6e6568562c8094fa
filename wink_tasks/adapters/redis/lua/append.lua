-- append: record what an application dispatches. Action: none, no message is touched.
-- Guarantee: the events follow exactly those that the caller knows, or nothing is written.
-- KEYS  1 due set
-- ARGV  1 base, 2 now, 3 tenant, 4 session, 5 nonce, 6 sequence number that the caller knows, 7 actor, then the events
-- Answer {appended} | {behind, the events after that number} | {short}: the session does not reach it
--@include _work
--@include _message
--@include _session
--@include _commit
local s, expected = session(ARGV[3], ARGV[4]), tonumber(ARGV[6])
local head = tonumber(s.head or 0)
if head < expected then return {'short'} end
if head > expected then
  local later = call('XRANGE', base .. s.tenant .. ':ledger:' .. s.id, (expected + 1) .. '-0', '+')
  local mine = later[1][2]
  if mine[#mine] == ARGV[5] then return {'appended'} end
  return {'behind', later}
end
local opens = not s.head
s.head = head
for i = 8, #ARGV do append(s, ARGV[7], ARGV[i], ARGV[5]) end
if opens then
  set(s, 'created', stamp)
  set(s, 'current', '')
  write('DEL', base .. s.tenant .. ':expired:' .. s.id)
end
commit(true)
return {'appended'}
