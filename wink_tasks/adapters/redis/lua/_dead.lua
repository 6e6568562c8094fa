-- Fragment: dead letters. Needs _work, _message, _session, _end.

-- Letters that are dead no more, or no more at all, are none of their evaluation's. `gone` has their ids as keys.
local function unbury(e, gone)
  local kept = {}
  for id in string.gmatch(e.dead or '', '%S+') do
    if not gone[id] then kept[#kept + 1] = id .. ' ' end
  end
  set(e, 'dead', table.concat(kept))
end

local function at_most_once(sent) return sent.max_retries == 0 and (sent.kind == 'call' or sent.kind == 'task') end

-- `code` is an error class for an end that DeadLetteredError would not describe; from a `final` end nothing is resumed.
local function bury(m, reason, fault, actor, code, final)
  local e, s = evaluation_of(m), session_of(m)
  move(m, 'dead')
  set(m, 'reason', reason)
  set(m, 'error', fault)
  set(e, 'dead', (e.dead or '') .. m.id .. ' ')
  tell('buried', e, m.id)
  if e.ended_seq ~= '0' then return end
  append(s, actor, '{"type":"StepDied","evaluation":' .. quote(e.id) .. ',"message":' .. quote(m.id) .. ',"reason":' ..
    quote(reason) .. ',"error":' .. quote(fault) .. (m.sent.call ~= '' and ',"call":' .. quote(m.sent.call) or '') ..
    (code and ',"code":' .. quote(code) or '') .. '}')
  if stopping(e) then halt(e, s, actor)
  elseif m.sent.kind == 'call' then wake(m.sent.wakes)
  else
    append(s, actor, '{"type":"EvaluationFailed","evaluation":' .. quote(e.id) .. ',"code":' ..
      quote(code or 'DeadLetteredError') .. ',"message":' ..
      quote(m.id .. ' is a dead letter: ' .. reason .. (fault ~= '' and '; last error: ' .. fault or '')) .. '}')
    finish(e, s, 'FAILURE', not final and m.id or '')
  end
end

-- What runs at most once, was begun and did not end may have done its work.
local function bury_unknown(m, fault, actor)
  bury(m, 'it was begun, did not end, and runs at most once (max_retries 0)', fault, actor, 'OutcomeUnknownError', true)
end
