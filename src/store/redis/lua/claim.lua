-- Leases those of the named agents of one shard that are still due: for each, its lease or nothing; and of those that were
-- claimed in vain too often, how often that was.
local wake, index, channel = KEYS[1], KEYS[2], KEYS[3]
local worker, untilMs, nowMs, below, publish, origin = unpack(ARGV, 1, 6)
local answers = {}
for n = 4, #KEYS do
  local id = ARGV[n + 3]
  local due = redis.call('ZSCORE', wake, id)
  local claims = redis.call('HGET', KEYS[n], 'claims')
  if not due or tonumber(due) > tonumber(nowMs) or not claims then
    answers[n - 3] = false
  elseif below ~= 'inf' and tonumber(claims) >= tonumber(below) then
    answers[n - 3] = tonumber(claims)
  else
    answers[n - 3] = take(KEYS[n], wake, index, { id = id, worker = worker, untilMs = untilMs })
  end
end
redis.call(publish, channel, origin .. ' ' .. untilMs .. ' ')
return answers
