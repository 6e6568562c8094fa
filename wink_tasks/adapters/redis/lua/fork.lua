-- fork: open a session that goes on from another's first events. Action: none, no message is touched.
-- Guarantee: it is opened once, and only on a loan so young that nobody has taken it for one of a fork that never came.
-- KEYS  1 due set
-- ARGV  1 base, 2 now, 3 tenant, 4 session, 5 the loan, 6 when it was made, 7 for how many seconds it holds, 8 parent,
--       9 how many events are the parent's, 10 actor, then its own first events
-- Answer {forked} | {taken} | {late}
--@include _work
--@include _message
--@include _session
--@include _commit
local s = session(ARGV[3], ARGV[4])
if s.head then return {s.loan == ARGV[5] and 'forked' or 'taken'} end
if now > ARGV[6] + ARGV[7] then return {'late'} end
s.head = tonumber(ARGV[9])
for i = 11, #ARGV do append(s, ARGV[10], ARGV[i]) end
for field, value in pairs({created = stamp, current = '', parent = ARGV[8], base = ARGV[9], loan = ARGV[5]}) do
  set(s, field, value)
end
write('DEL', base .. s.tenant .. ':expired:' .. s.id)
commit(true)
return {'forked'}
