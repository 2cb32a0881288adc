local agent, wake, index, channel = unpack(KEYS)
local id, epoch, worked, after, wakeAt, publish, origin = unpack(ARGV)
local held = redis.call('HMGET', agent, 'status', 'worker', 'epoch', 'head')
if held[3] ~= epoch or held[2] == NONE then return { 'done' } end
if after ~= NONE and held[4] ~= after then return { 'conflict' } end
redis.call('HSET', agent, 'worker', NONE, 'lease', 0, 'claims', 0, 'worked', worked)
setWake(wake, id, wakeAt)
moveInIndex(index, id, placeOf(held[1], held[2]), placeOf(held[1], NONE))
return { 'done', tell(publish, channel, origin, wake, id) }
