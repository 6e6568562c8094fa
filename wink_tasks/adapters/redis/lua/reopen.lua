-- reopen: let an evaluation go on that failed, with a new message for its next turn. Action: Send, of one more turn.
-- Guarantee: it goes on once, and only where its session has nothing that the caller does not know, and runs nothing.
-- KEYS  1 due set
-- ARGV  1 base, 2 now, 3 tenant, 4 session, 5 evaluation, 6 nonce, 7 by, 8 head that the caller knows, 9 changed terms
--       (JSON; '': none), 10 outcome, 11 turn (JSON messages)
-- Answer {reopened, doorbells} | {moved}: look again | {early}: its end was not told yet
--@include _work
--@include _message
--@include _session
--@include _commit
--@include _clock
--@include _end
--@include _dead
--@include _reply
local e, s, by = evaluation(ARGV[3], ARGV[5]), session(ARGV[3], ARGV[4]), ARGV[7]
if e.last == ARGV[6] then return {'reopened', rung(split(e.answer))} end
if s.head ~= ARGV[8] or e.session ~= s.id or e.ended_seq == '0' or s.current ~= '' then return {'moved'} end
if call('EXISTS', base .. e.tenant .. ':open:' .. e.id) == 1 then return {'early'} end

local letter = e.died and e.died ~= '' and message(e.died)
if letter and letter.state == 'dead' then
  unbury(e, letter)
  move(letter, 'done')
end
resume(e, s, by, e.ended_at, ARGV[9])
local m = create(ARGV[11], 0)
for field, value in pairs({ended_seq = '0', ended_at = '0', died = '', first = m.id, outcome = ARGV[10],
  status = 'STARTED', resumed = (e.resumed or 0) + 1}) do
  set(e, field, value)
end
occupy(s, e.id)
place(m)
tell('resumed', e, m.id)
return conclude(e, ARGV[6], 'reopened', true)
