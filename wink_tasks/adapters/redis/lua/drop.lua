-- drop: forget a session with all that is its own. Action: none, the model does not forget.
-- Guarantee: a session with an evaluation that has not ended, or with forks, stays; what is not there is not in the
--            index either.
-- KEYS  1 due set
-- ARGV  1 base, 2 now, 3 tenant, 4 session, 5 nonce, 6 only if unchanged since ('': whenever), 7 seconds for which a
--       tombstone stays ('': none), 8 only with so many events ('': any number), 9 where it is archived ('': nowhere)
-- Answer {dropped} | {none} | {busy, current evaluation} | {fresh} | {lent, loans}
--@include _work
--@include _message
--@include _session
--@include _commit
local own, s = base .. ARGV[3] .. ':', session(ARGV[3], ARGV[4])
local mark = own .. 'dropped:' .. s.id
if not s.head then
  local code = call('GET', mark) == ARGV[5] and 'dropped' or 'none'
  write('ZREM', base .. 'sessions', s.tenant .. ':' .. s.id)
  commit()
  return {code}
end
if s.current ~= '' then return {'busy', s.current} end
local changed_since = ARGV[6] ~= '' and tonumber(s.updated) > tonumber(ARGV[6])
if changed_since or ARGV[8] ~= '' and s.head ~= ARGV[8] then return {'fresh'} end
local loans = call('HGETALL', own .. 'forks:' .. s.id)
if #loans > 0 then return {'lent', loans} end

write('ZREM', base .. 'sessions', s.tenant .. ':' .. s.id)
for _, id in ipairs(call('LRANGE', own .. 'evaluations:' .. s.id, 0, -1)) do
  local e, left = evaluation(s.tenant, id), call('SMEMBERS', own .. 'open:' .. id)
  for letter in string.gmatch(e.dead or '', '%S+') do left[#left + 1] = letter end
  for _, owed in ipairs(left) do
    local m = message(owed)
    write('ZREM', due, owed)
    for _, index in ipairs({m.state .. ':' .. m.sent.mailbox, 'rung:' .. lane_of(m.sent), 'unconfirmed'}) do
      write('ZREM', base .. index, owed)
    end
    write('DEL', m.key)
  end
  for _, key in ipairs({own .. 'open:' .. id, e.key, base .. 'home:' .. id}) do write('DEL', key) end
end
for _, kind in ipairs({'evaluations:', 'ledger:', 'session:', 'snapshot:'}) do write('DEL', own .. kind .. s.id) end
write('SET', mark, ARGV[5], 'EX', HOUR)
if ARGV[7] ~= '' then write('SET', own .. 'expired:' .. s.id, now .. ' ' .. ARGV[9], 'EX', ARGV[7]) end
commit()
return {'dropped'}
