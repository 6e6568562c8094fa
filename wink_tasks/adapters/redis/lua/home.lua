-- home: reserve an evaluation id at its home for a session that lives elsewhere. Action: none.
-- Guarantee: a home record is never overwritten.
-- KEYS  1 home record
-- ARGV  1 record
-- Answer the record in force
local taken = redis.call('GET', KEYS[1])
if not taken then redis.call('SET', KEYS[1], ARGV[1]) end
return taken or ARGV[1]
