-- Leases those of the named agents of one shard that are still due: for each, its lease or nothing.
local wake, index, channel = KEYS[1], KEYS[2], KEYS[3]
local worker, untilMs, nowMs, publish, origin = unpack(ARGV, 1, 5)
local leases = {}
for n = 4, #KEYS do
  local id = ARGV[n + 2]
  local due = redis.call('ZSCORE', wake, id)
  if due and tonumber(due) <= tonumber(nowMs) and redis.call('EXISTS', KEYS[n]) == 1 then
    leases[n - 3] = take(KEYS[n], wake, index, { id = id, worker = worker, untilMs = untilMs })
  else
    leases[n - 3] = false
  end
end
redis.call(publish, channel, origin .. ' ' .. untilMs .. ' ')
return leases
