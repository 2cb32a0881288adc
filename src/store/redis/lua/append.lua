local agent, log, draft, marks, wake, index, channel = unpack(KEYS)
local id, epoch, after, previous, head, hash, status, info, spec = unpack(ARGV, 1, 9)
local wish = { id = id, nowMs = ARGV[10], wakeAt = ARGV[11], worker = ARGV[12], untilMs = ARGV[13] }
local leaseUntil, dropDraft, snapshot, snapshotHash, publish, origin = unpack(ARGV, 14, 19)

local held = redis.call('HMGET', agent, 'head', 'hash', 'status', 'worker', 'epoch')
if not held[1] then return { 'missing' } end
if epoch ~= NONE and held[5] ~= epoch then return { 'fenced' } end
if held[1] ~= after then return { 'conflict', held[1] } end
-- The writer chains to another log than this one: it has to look again.
if held[2] ~= previous then return { 'other', held[2] } end

redis.call('HSET', agent, 'head', head, 'hash', hash, 'status', status, 'info', info)
write(log, marks, tonumber(after), 20)
if spec ~= NONE then redis.call('HSET', agent, 'spec', spec) end
if snapshot ~= NONE then
  redis.call('HSET', agent, 'snapshotAt', head, 'snapshot', snapshot, 'snapshotHash', snapshotHash)
end
if dropDraft == '1' then
  redis.call('UNLINK', draft)
  redis.call('HDEL', agent, 'draft', 'draftAt')
end

local worker = held[4]
local lease = nil
if epoch == NONE then
  moveInIndex(index, id, placeOf(held[3], worker), placeOf(status, worker))
  lease = grant(agent, wake, index, wish)
else
  if leaseUntil == NONE then
    redis.call('HSET', agent, 'worker', NONE, 'lease', 0, 'claims', 0, 'worked', 0)
    setWake(wake, id, wish.wakeAt)
    moveInIndex(index, id, placeOf(held[3], worker), placeOf(status, NONE))
  else
    redis.call('HSET', agent, 'lease', leaseUntil, 'claims', 0, 'worked', 0)
    setWake(wake, id, leaseUntil)
    moveInIndex(index, id, placeOf(held[3], worker), placeOf(status, worker))
  end
end
return { 'done', lease or false, tell(publish, channel, origin, wake, id) }
