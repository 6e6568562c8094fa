-- purge: forget dead letters. Action: none, the model does not forget.
-- Guarantee: only dead letters go; what their ledgers say stays.
-- KEYS  1 due set
-- ARGV  1 base, 2 now, 3 nonce, 4... tenant, session, message of each
-- Answer how many there were
--@include _work
--@include _message
--@include _session
--@include _commit
--@include _end
--@include _dead
local memory, count, gone = row(base .. 'purged'), 0, {}
if memory.last == ARGV[3] then return tonumber(memory.answer) end
for i = 4, #ARGV, 3 do
  local m = message(ARGV[i + 2])
  local sent = m.state == 'dead' and m.sent
  if sent and sent.tenant == ARGV[i] and sent.session == ARGV[i + 1] then
    local e = evaluation_of(m)
    count = count + 1
    gone[e] = gone[e] or {}
    gone[e][m.id] = true
    tell('purged', e, m.id)
    write('ZREM', base .. 'dead:' .. sent.mailbox, m.id)
    write('DEL', m.key)
    m.state = 'gone'
  end
end
for e, ids in pairs(gone) do unbury(e, ids) end
set(memory, 'last', ARGV[3])
set(memory, 'answer', count)
commit()
return count
