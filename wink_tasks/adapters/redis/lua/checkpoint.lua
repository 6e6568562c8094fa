-- checkpoint: keep how far a step is, for its redelivery to read. Action: none, the message stays where it is.
-- Guarantee: only the newest receipt keeps; the lease ends when it would have. Given again, it keeps the same again.
-- KEYS  1 due set
-- ARGV  1 base, 2 now, 3 tenant, 4 session, 5 message, 6 nonce, 7 epoch, 8 receipt's nonce, 9 value (JSON)
-- Answer {kept} | {stale}
--@include _work
--@include _message
--@include _session
--@include _commit
local m = message(ARGV[5])
if not holds(m, ARGV[7], ARGV[8]) then return {'stale'} end
set(m, 'checkpoint', ARGV[9])
commit()
return {'kept'}
