-- Puts events and marks aside, behind the `after` that stand there. Otherwise answers what stands there, and the hashes
-- before the first and of the last of these events that may be there already: whoever repeats itself can see that they are.
local function hashAt(log, sequence)
  local found = redis.call('XRANGE', log, '0-' .. sequence, '0-' .. sequence)
  return found[1] and found[1][2][6] or NONE
end

local agent, staged, log, marks = unpack(KEYS)
local after, previous, head, hash, forked, keptMs = unpack(ARGV, 1, 6)
if redis.call('EXISTS', agent) == 1 then return { 'there' } end
local held = redis.call('HMGET', staged, 'head', 'hash', 'forked')
local at = held[1] or '0'
local stale = held[3] and held[3] ~= NONE
if at ~= after or stale or (at ~= '0' and held[2] ~= previous) then
  local last = string.format('%.0f', math.min(tonumber(at), tonumber(head)))
  return { 'other', at, held[2] or NONE, hashAt(log, after), last, hashAt(log, last), held[3] or NONE }
end

-- Behind a fork an id is free again, though its stale mark may still stand there.
if forked ~= NONE then
  local first = 7 + 3 * tonumber(ARGV[7]) + 1
  for n = 1, tonumber(ARGV[first]) do
    local key = ARGV[first + 2 * n - 1]
    if isMessage(key) then redis.call('HDEL', marks, key) end
  end
end
write(log, marks, tonumber(after), 7)
redis.call('HSET', staged, 'head', head, 'hash', hash, 'forked', forked)
local now = redis.call('TIME')
local untilMs = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000) + keptMs)
for _, key in ipairs({ staged, log, marks }) do redis.call('PEXPIREAT', key, untilMs) end
return { 'done' }
