-- agree: what all processes share, as the first of them wrote it. Action: none.
-- Guarantee: a value is written once, whoever comes first.
-- KEYS  1 settings
-- ARGV  1... name, value of each setting
-- Answer name, value of each setting in force
for i = 1, #ARGV, 2 do redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1]) end
return redis.call('HGETALL', KEYS[1])
