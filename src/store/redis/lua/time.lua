-- The store's own time: the server's, but that it neither goes back nor jumps ahead of an engine that has measured on.
local meta = KEYS[1]
local guess, jump = ARGV[1], tonumber(ARGV[2])
local kept = redis.call('HMGET', meta, 'id', 'format', 'ahead', 'seen')
if not kept[1] then return { 'gone' } end
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
-- Memory may be full, which is no reason to stop telling the time.
local noted = redis.pcall('HSET', meta, 'ahead', string.format('%.0f', ahead), 'seen', string.format('%.0f', time))
if type(noted) == 'table' and noted.err and string.find(noted.err, 'READONLY', 1, true) then return noted end
return { 'found', kept[1], kept[2], string.format('%.0f', time) }
