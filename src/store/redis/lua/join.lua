-- The identity and format of the store, which the first engine gives it.
local meta = KEYS[1]
if redis.call('HSETNX', meta, 'id', ARGV[1]) == 1 then redis.call('HSET', meta, 'format', ARGV[2]) end
local kept = redis.call('HMGET', meta, 'id', 'format', 'whole')
return { kept[1], kept[2], kept[3] or NONE }
