-- Keeps what an engine says of itself, and drops what others have left behind.
local peers = KEYS[1]
local worker, untilMs, nowMs, text = unpack(ARGV, 1, 4)
local known = redis.call('HGETALL', peers)
for n = 1, #known, 2 do
  if tonumber(string.match(known[n + 1], '^%d+')) <= tonumber(nowMs) then redis.call('HDEL', peers, known[n]) end
end
if tonumber(untilMs) > tonumber(nowMs) then
  redis.call('HSET', peers, worker, untilMs .. ' ' .. text)
else
  redis.call('HDEL', peers, worker)
end
return 1
