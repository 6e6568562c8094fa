-- home: reserve an evaluation id at its home for a session that lives elsewhere. Action: none.
-- Guarantee: a home record is never overwritten; one whose run was not accepted is gone after a week.
-- KEYS  1 home record
-- ARGV  1 record
-- Answer the record in force
local taken = redis.call('GET', KEYS[1])
if taken and (taken ~= ARGV[1] or redis.call('TTL', KEYS[1]) == -1) then return taken end
redis.call('SET', KEYS[1], ARGV[1], 'EX', 604800)
return ARGV[1]
