local agent, log, marks, staged, stagedLog, stagedMarks, wake, index, gone, channel, draft = unpack(KEYS)
local id, request, reserved, head, hash, status, info, spec = unpack(ARGV, 1, 8)
local wish = { id = id, nowMs = ARGV[9], wakeAt = ARGV[10], worker = ARGV[11], untilMs = ARGV[12] }
local aside, headHash, snapshot, snapshotHash, publish, origin = unpack(ARGV, 13, 18)
-- Of an agent that moves; else nothing, and 0.
local epoch, worked, call, callAt = unpack(ARGV, 19, 22)

local known = redis.call('HGET', agent, 'request')
if known then return { 'there', known } end
-- Of a request that was reserved, and whose agent was made and deleted since.
if reserved == '1' and redis.call('HEXISTS', gone, id) == 1 then return { 'gone' } end
-- What stands aside is what the writer knew, and whole.
local held = redis.call('HMGET', staged, 'head', 'hash', 'forked')
local at = held[1] or '0'
if at ~= aside or (at ~= '0' and (held[2] ~= hash or held[3] ~= NONE)) then return { 'aside', at } end
if headHash ~= NONE and headHash ~= hash then
  redis.call('UNLINK', staged, stagedLog, stagedMarks)
  return { 'otherHead' }
end

redis.call('HSET', agent, 'request', request, 'head', head, 'hash', hash, 'status', status, 'info', info, 'spec', spec,
  'worker', NONE, 'lease', 0, 'epoch', epoch, 'claims', 0, 'worked', worked)
if snapshot ~= NONE then
  redis.call('HSET', agent, 'snapshotAt', head, 'snapshot', snapshot, 'snapshotHash', snapshotHash)
end
redis.call('HDEL', gone, id)
if aside ~= '0' then
  redis.call('RENAME', stagedLog, log)
  redis.call('PERSIST', log)
  if redis.call('EXISTS', stagedMarks) == 1 then
    redis.call('RENAME', stagedMarks, marks)
    redis.call('PERSIST', marks)
  end
  redis.call('UNLINK', staged)
end
local pieces = write(log, marks, tonumber(aside), 23)
if call ~= NONE then redis.call('HSET', agent, 'draft', call, 'draftAt', callAt) end
for n = pieces, #ARGV do redis.call('RPUSH', draft, ARGV[n]) end
redis.call('ZADD', index, 0, 'all:' .. id, 0, status .. ':' .. id)
local lease = grant(agent, wake, index, wish)
return { 'made', lease or false, tell(publish, channel, origin, wake, id) }
