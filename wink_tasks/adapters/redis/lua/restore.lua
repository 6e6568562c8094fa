-- restore: make a session of the events that `stage` brought. Action: none, the model does not restore.
-- Guarantee: it is there as a whole or not at all; no session, evaluation or home record is overwritten.
-- KEYS  1 due set
-- ARGV  1 base, 2 now, 3 tenant, 4 session, 5 nonce of the restoration, 6 when it was opened, 7 how many events, then of
--       each evaluation its id, home record ('': it lives elsewhere), prompt, mailbox, status, accepted_seq,
--       accepted_at, started_at, ended_seq, ended_at, cancelled
-- Answer {restored} | {exists} | {taken, evaluation} | {short}: not all events are staged
--@include _work
--@include _message
--@include _session
--@include _commit
local own, s, head = base .. ARGV[3] .. ':', session(ARGV[3], ARGV[4]), tonumber(ARGV[7])
local staged, ledger = own .. 'staged:' .. ARGV[5], own .. 'ledger:' .. s.id
if s.head then return {s.restored == ARGV[5] and 'restored' or 'exists'} end
if call('XLEN', staged) ~= head then return {'short'} end
for i = 8, #ARGV, 11 do
  local id, home = ARGV[i], ARGV[i + 1]
  local there = home ~= '' and call('GET', base .. 'home:' .. id)
  if evaluation(s.tenant, id).session or there and there ~= home then return {'taken', id} end
end

touches[1] = ledger
write('RENAME', staged, ledger)
write('PERSIST', ledger)
write('ZADD', base .. 'sessions', stamp, s.tenant .. ':' .. s.id)
write('DEL', own .. 'expired:' .. s.id)
for field, value in pairs({head = head, created = ARGV[6], updated = stamp, current = '', restored = ARGV[5]}) do
  set(s, field, value)
end
local FIELDS = {'prompt', 'mailbox', 'status', 'accepted_seq', 'accepted_at', 'started_at', 'ended_seq', 'ended_at',
  'cancelled'}
for i = 8, #ARGV, 11 do
  local e = evaluation(s.tenant, ARGV[i])
  set(e, 'session', s.id)
  set(e, 'first', e.id)
  for place, field in ipairs(FIELDS) do set(e, field, ARGV[i + 1 + place]) end
  write('RPUSH', own .. 'evaluations:' .. s.id, e.id)
  if ARGV[i + 1] ~= '' then write('SET', base .. 'home:' .. e.id, ARGV[i + 1]) end
end
commit(true)
return {'restored'}
