-- snapshot: keep what a fold came to. Action: none, the model does not fold.
-- Guarantee: it is newer than the one before, and of this session.
-- KEYS  1 due set
-- ARGV  1 base, 2 now, 3 tenant, 4 session, 5 sequence number, 6 fingerprint, 7 slices (JSON)
-- Answer {kept} | {older}
--@include _work
--@include _message
--@include _session
--@include _commit
local s, seq = session(ARGV[3], ARGV[4]), tonumber(ARGV[5])
local kept = row(base .. s.tenant .. ':snapshot:' .. s.id)
if seq > tonumber(s.head or 0) or seq <= tonumber(kept.seq or 0) then return {'older'} end
set(kept, 'seq', seq)
set(kept, 'fingerprint', ARGV[6])
set(kept, 'slices', ARGV[7])
commit(true)
return {'kept'}
