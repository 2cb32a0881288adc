local agent, log, marks, wake, index, gone, channel, draft = unpack(KEYS)
local id, request, reserved, head, hash, status, info, spec = unpack(ARGV, 1, 8)
local wish = { id = id, nowMs = ARGV[9], wakeAt = ARGV[10], worker = ARGV[11], untilMs = ARGV[12] }
local publish, origin = ARGV[13], ARGV[14]
-- Of an agent that moves; else nothing, and 0.
local epoch, worked, call, callAt = unpack(ARGV, 15, 18)

local known = redis.call('HGET', agent, 'request')
if known then return { 'there', known } end
-- Of a request that was reserved, and whose agent was made and deleted since.
if reserved == '1' and redis.call('HEXISTS', gone, id) == 1 then return { 'gone' } end

redis.call('HSET', agent, 'request', request, 'head', head, 'hash', hash, 'status', status, 'info', info, 'spec', spec,
  'worker', NONE, 'lease', 0, 'epoch', epoch, 'claims', 0, 'worked', worked)
redis.call('HDEL', gone, id)
local pieces = write(log, marks, 0, 19)
if call ~= NONE then redis.call('HSET', agent, 'draft', call, 'draftAt', callAt) end
for n = pieces, #ARGV do redis.call('RPUSH', draft, ARGV[n]) end
redis.call('ZADD', index, 0, 'all:' .. id, 0, status .. ':' .. id)
local lease = grant(agent, wake, index, wish)
return { 'made', lease or false, tell(publish, channel, origin, wake, id) }
