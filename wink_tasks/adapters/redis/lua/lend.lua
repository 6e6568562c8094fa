-- lend: note with a session that a fork of it reads its first events, before there is the fork. Action: none, no message
--       is touched.
-- Guarantee: a session whose events are lent is not dropped; only events that there are can be lent.
-- KEYS  1 due set
-- ARGV  1 base, 2 now, 3 tenant, 4 session, 5 nonce, which names the loan, 6 fork, 7 sequence number
-- Answer {lent, when} | {beyond, head} | {none}
--@include _work
--@include _message
--@include _session
--@include _commit
local s = session(ARGV[3], ARGV[4])
if not s.head then return {'none'} end
if tonumber(ARGV[7]) < 1 or tonumber(ARGV[7]) > tonumber(s.head) then return {'beyond', s.head} end
write('HSET', base .. s.tenant .. ':forks:' .. s.id, ARGV[5], stamp .. ' ' .. ARGV[6])
commit(true)
return {'lent', stamp}
