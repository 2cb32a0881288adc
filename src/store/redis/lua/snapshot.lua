-- The snapshot, and the hash of the event at its place.
local agent, log = unpack(KEYS)
local kept = redis.call('HMGET', agent, 'head', 'snapshotAt', 'snapshot', 'snapshotHash')
if not kept[1] then return { 'missing' } end
if not kept[2] then return { 'none' } end
local place = '0-' .. kept[2]
local found = redis.call('XRANGE', log, place, place)
return { 'found', kept[2], kept[3], kept[4], found[1] and found[1][2][6] or NONE }
