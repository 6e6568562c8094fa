-- settle: append the events, end the message, create what follows, all or nothing. Action: Settle.
-- Guarantee: a step's events are recorded once, and only by the newest receipt.
-- KEYS  1 due set
-- ARGV  1 base, 2 now, 3 tenant, 4 session, 5 message, 6 nonce, 7 epoch, 8 receipt's nonce, 9 actor, 10 after ('': no
--       tail), 11 mailboxes that the settler serves, each between blanks, 12 status that the last event ends in (''),
--       13 number of events, then the events, then the messages (JSON)
-- Answer {settled, doorbells, first seq, ended, hand or false} | {stale}
--@include _work
--@include _message
--@include _session
--@include _commit
--@include _end
--@include _reply
local m, nonce = message(ARGV[5]), ARGV[6]

local function reply()
  local first, ended, mine, ids = string.match(m.answer, '^(%d+) (%d) (%S+) ?(.*)$')
  local next_one = mine ~= '-' and message(mine)
  local held = next_one and next_one.nonce == nonce .. '+' and hand(next_one, ARGV[10], (first - 1) .. '-0')
  return {'settled', rung(split(ids)), first, ended, held}
end

if m.last == nonce then return reply() end
if not holds(m, ARGV[7], ARGV[8]) then return {'stale'} end
local e, s, owner = evaluation_of(m), session_of(m), m.owner
local first, last_event = s.head + 1, 13 + ARGV[13]

close(m)
for i = 14, last_event do append(s, ARGV[9], ARGV[i]) end
if ARGV[12] ~= '' then
  finish(e, s, ARGV[12])
elseif stopping(e) then
  halt(e, s, ARGV[9])
else
  for i = last_event + 1, #ARGV do place(create(ARGV[i], first)) end
  if m.sent.wakes ~= '' then wake(m.sent.wakes) end
end
local mine = '-'
for _, bell in ipairs(bells) do
  if mine == '-' and string.find(ARGV[11], ' ' .. bell.sent.mailbox .. ' ', 1, true) then
    mine = bell.id
    lease(bell, owner, nonce .. '+')
  end
end
set(m, 'last', nonce)
set(m, 'answer', first .. ' ' .. (e.ended_seq ~= '0' and 1 or 0) .. ' ' .. mine .. ' ' .. ids_of(bells))
commit()
return reply()
