-- resume: let the clock run on of an evaluation whose message was held back. Action: none, the model has no clock.
-- Guarantee: EvaluationResumed is recorded once for each EvaluationPaused, by the message that paused it.
-- KEYS  1 due set
-- ARGV  1 base, 2 now, 3 tenant, 4 session, 5 message, 6 nonce (not needed: asked again, it finds the clock running),
--       7 epoch, 8 receipt's nonce, 9 after ('': no tail)
-- Answer {resumed, hand} | {stale}
--@include _work
--@include _message
--@include _session
--@include _commit
--@include _clock
--@include _reply
local m = message(ARGV[5])
if not holds(m, ARGV[7], ARGV[8]) then return {'stale'} end
local e, s = evaluation_of(m), session_of(m)
if e.paused == m.id then
  resume(e, s, m.owner, e.paused_at)
  tell('resumed', e, m.id)
  commit()
end
return {'resumed', hand(m, ARGV[9], '+')}
