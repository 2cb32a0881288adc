-- What a request id stands for: "digest agentId". Where it is free, or still stands for `instead`, it is `wanted` from now on.
local request = KEYS[1]
local wanted, instead = ARGV[1], ARGV[2]
local known = redis.call('GET', request)
if known and known ~= instead then return known end
redis.call('SET', request, wanted)
return wanted
