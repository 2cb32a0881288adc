-- The identity of the store, which the first engine gives it together with a format.
local meta = KEYS[1]
if redis.call('HSETNX', meta, 'id', ARGV[1]) == 1 then redis.call('HSET', meta, 'format', ARGV[2]) end
local kept = redis.call('HMGET', meta, 'id', 'whole')
return { kept[1], kept[2] or NONE }
