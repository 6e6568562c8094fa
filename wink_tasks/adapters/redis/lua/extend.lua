-- extend: hold messages for another visibility timeout from now. Action: Extend.
-- Guarantee: the newest receipt extends, also after its lease expired, until somebody claims.
-- KEYS  1 due set
-- ARGV  1 base, 2 now, 3... message, epoch, nonce of each receipt
-- Answer held | cancelled | stale for each
--@include _work
--@include _message
--@include _session
--@include _commit
local standings = {}
for i = 3, #ARGV, 3 do
  local m, standing = message(ARGV[i]), 'stale'
  if holds(m, ARGV[i + 1], ARGV[i + 2]) then
    standing = stopping(evaluation_of(m)) and 'cancelled' or 'held'
    move(m, 'leased', now + m.sent.visibility_timeout)
  end
  standings[#standings + 1] = standing
end
commit()
return standings
