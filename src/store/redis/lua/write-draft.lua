local agent, draft, channel = unpack(KEYS)
local id, epoch, worked, at, call, publish, origin = unpack(ARGV, 1, 7)
local held = redis.call('HMGET', agent, 'status', 'epoch', 'draftAt')
if not held[1] then return { 'missing' } end
if held[2] ~= epoch then return { 'fenced' } end
if held[1] ~= 'waiting_for_step' then return { 'stopped', held[1] } end
redis.call('HSET', agent, 'draft', call, 'draftAt', at, 'claims', 0, 'worked', worked)
if held[3] and held[3] ~= at then redis.call('UNLINK', draft) end
for n = 8, #ARGV do redis.call('RPUSH', draft, ARGV[n]) end
redis.call(publish, channel, origin .. '  ' .. id)
return { 'done' }
