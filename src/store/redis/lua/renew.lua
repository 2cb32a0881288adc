-- Lengthens the leases of one shard's agents: for each 1, or 0 where it is stale.
local wake, untilMs = KEYS[1], ARGV[1]
local kept = {}
for n = 2, #KEYS do
  local id, epoch, worked = ARGV[3 * n - 4], ARGV[3 * n - 3], ARGV[3 * n - 2]
  local held = redis.call('HMGET', KEYS[n], 'worker', 'epoch')
  if held[2] == epoch and held[1] ~= NONE then
    redis.call('HSET', KEYS[n], 'lease', untilMs, 'worked', worked)
    redis.call('ZADD', wake, untilMs, id)
    kept[n - 1] = 1
  else
    kept[n - 1] = 0
  end
end
return kept
