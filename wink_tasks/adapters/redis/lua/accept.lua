-- accept: open the session where there is none, record the run, owe its first turn. Action: Send.
-- Guarantee: an evaluation is accepted once, whoever asks how often; a second one of the session waits; one whose id
--            names its session opens it, and joins none that there is.
-- KEYS  1 due set of the session's partition
-- ARGV  1 base, 2 now, 3 tenant, 4 session, 5 evaluation, 6 prompt, 7 home record ('': it lives elsewhere), 8 nonce,
--       9 actor, 10 busy, 11 SessionOpened, 12 EvaluationAccepted, 13 outcome, 14 first turn (JSON messages)
-- Answer {created|known, accepted seq, doorbells} | {duplicate} | {busy, current evaluation}
--@include _work
--@include _message
--@include _session
--@include _owed
--@include _commit
--@include _reply
local tenant, name, id, home = ARGV[3], ARGV[4], ARGV[5], base .. 'home:' .. ARGV[5]
local s, e, taken = session(tenant, name), evaluation(tenant, id), ARGV[7] ~= '' and call('GET', home)
if taken and taken ~= ARGV[7] then return {'duplicate'} end
if e.session then
  local again = e.last == ARGV[8]
  return {again and 'created' or 'known', e.accepted_seq, rung(split(again and e.answer or ''))}
end
if s.head and name == id then return {'duplicate'} end
local busy = s.current and s.current ~= ''
if busy and ARGV[10] == 'reject' then return {'busy', s.current} end

if not s.head then
  s.head = 0
  append(s, ARGV[9], ARGV[11])
  set(s, 'created', stamp)
  write('DEL', base .. tenant .. ':expired:' .. name)
end
append(s, ARGV[9], ARGV[12])
for field, value in pairs({session = name, prompt = ARGV[6], status = busy and 'WAITING' or 'PENDING',
  accepted_seq = s.head, accepted_at = stamp, started_at = '0', ended_seq = '0', cancelled = '0', outcome = ARGV[13]}) do
  set(e, field, value)
end
write('RPUSH', base .. tenant .. ':evaluations:' .. name, id)
if ARGV[7] ~= '' then write('SET', home, ARGV[7]) end
local m = create(ARGV[14], 0, s.head)
set(e, 'first', m.id)
set(e, 'mailbox', m.sent.mailbox)
if busy then
  set(m, 'needs', 1)
  write('RPUSH', base .. tenant .. ':waiting:' .. name, id)
else
  occupy(s, id)
end
place(m)
tell('accepted', e, m.id)
local answer = conclude(e, ARGV[8], 'created', true)
return {'created', e.accepted_seq, answer[2]}
