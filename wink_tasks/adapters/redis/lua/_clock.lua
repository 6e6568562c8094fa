-- Fragment: a clock that stood still. Needs _work, _message, _session.

-- Let the clock of an evaluation run on that stood still since `since`: what counts from its start counts from later.
-- `changed` is the JSON of terms that are others from now on.
local function resume(e, s, actor, since, changed)
  local seconds = now - since
  append(s, actor, '{"type":"EvaluationResumed","evaluation":' .. cjson.encode(e.id) .. ',"seconds":' .. at(seconds) ..
    (changed and changed ~= '' and ',"changed":' .. changed or '') .. '}')
  set(e, 'started_at', at(e.started_at + seconds))
  set(e, 'paused', '')
  return seconds
end
