-- The call, how many pieces there are, and those from `from` to `to`.
local agent, draft = unpack(KEYS)
local call = redis.call('HGET', agent, 'draft')
if not call then return { 'none' } end
return { 'found', call, redis.call('LLEN', draft), redis.call('LRANGE', draft, ARGV[1], ARGV[2]) }
