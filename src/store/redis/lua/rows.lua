-- What listings show of each of the agents; nothing of one that is not there.
local rows = {}
for n, agent in ipairs(KEYS) do rows[n] = redis.call('HMGET', agent, unpack(ARGV)) end
return rows
