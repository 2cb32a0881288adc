-- Frees a request id that still stands for `agentId`.
local known = redis.call('GET', KEYS[1])
if known and string.sub(known, string.find(known, ' ', 1, true) + 1) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 'done'
