-- An engine's sign of life: it tells which formats it knows, and is told the store's format and time.
local meta, members, peers = unpack(KEYS)
local guess, jump, worker, lasting = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local oldest, newest, learnt = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local kept = redis.call('HMGET', meta, 'id', 'format', 'ahead', 'seen', 'settled')
if not kept[1] then return { 'gone' } end

-- The time is the server's, but that it neither goes back nor jumps ahead of an engine that has measured on.
local now = redis.call('TIME')
local server = now[1] * 1000 + math.floor(now[2] / 1000)
local ahead, seen = tonumber(kept[3] or 0), tonumber(kept[4] or 0)
local time = server + ahead
if guess ~= NONE and tonumber(guess) >= seen and time > tonumber(guess) + jump then time = tonumber(guess) end
if time < seen then
  time = seen
  if guess ~= NONE and tonumber(guess) > seen and tonumber(guess) < seen + jump then time = tonumber(guess) end
end
ahead = time - server

-- What this engine has learnt is true, though a server may have been lost with it.
local format = math.max(tonumber(kept[2] or 0), learnt)
local function told(number) return { 'found', kept[1], number, string.format('%.0f', time) } end
-- It is not this engine's to write in.
if format < oldest or format > newest then return told(format) end

-- Where nobody told of himself for long, nobody could: silence says nothing until all have had the time to.
local settled = tonumber(kept[5] or 0)
if seen > 0 and time - seen > lasting / 2 then settled = time + lasting end

-- Whether every engine that counts knows the newest format of this one. Drops those that do not count any more.
local function isKnownToAll()
  local known, named = true, {}
  local found = redis.call('HGETALL', members)
  for n = 1, #found, 2 do
    local untilMs, _, knows = string.match(found[n + 1], '^(%d+) (%d+) (%d+)')
    if untilMs and tonumber(untilMs) <= time and time >= settled then
      redis.pcall('HDEL', members, found[n])
    elseif found[n] ~= worker then
      named[found[n]] = true
      known = known and tonumber(knows or 1) >= newest
    end
  end
  -- An engine that tells of its tools and not of formats knows 1.
  found = redis.call('HGETALL', peers)
  for n = 1, #found, 2 do
    local isSilent = tonumber(string.match(found[n + 1], '^%d+') or 0) <= time
    known = known and (isSilent or named[found[n]] or found[n] == worker)
  end
  return known
end
local raised = format
if (format < newest or learnt == 0) and isKnownToAll() then raised = newest end

local noted = redis.pcall('HSET', meta, 'ahead', string.format('%.0f', ahead), 'seen', string.format('%.0f', time),
  'settled', string.format('%.0f', settled), 'format', raised)
if type(noted) == 'table' and noted.err then
  if string.find(noted.err, 'READONLY', 1, true) then return noted end
  -- Memory may be full, which is no reason to stop telling the time.
  return told(format)
end
redis.pcall('HSET', members, worker, string.format('%.0f %d %d', time + lasting, oldest, newest))
return told(raised)
