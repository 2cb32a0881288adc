local agent, log, draft, marks, wake, index, gone, channel = unpack(KEYS)
local id, at, force, publish, origin = unpack(ARGV)
local held = redis.call('HMGET', agent, 'status', 'worker', 'request')
if not held[1] then return { 'missing' } end
if force ~= '1' and held[1] == 'waiting_for_step' then return { 'working' } end
redis.call('UNLINK', agent, log, draft, marks)
redis.call('ZREM', wake, id)
redis.call('ZREM', index, 'all:' .. id, placeOf(held[1], held[2]) .. ':' .. id)
redis.call('HSET', gone, id, at)
redis.call(publish, channel, origin .. '  ' .. id)
return { 'done', held[3] }
