-- The head, its hash, and the events from number `from` on: at most `limit`, and none behind the one that passes `bytesMax`.
local agent, log = unpack(KEYS)
local from, limit, bytesMax = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local held = redis.call('HMGET', agent, 'head', 'hash')
if not held[1] then return { 'missing' } end
local events, bytes = {}, 0
-- A few at a time, so that a page of large events is not read much further than it is given.
local step = 16
while #events < limit and bytes <= bytesMax do
  local found = redis.call('XRANGE', log, '0-' .. string.format('%.0f', from + #events), '+', 'COUNT', step)
  for _, entry in ipairs(found) do
    if #events < limit and bytes <= bytesMax then
      local fields = entry[2]
      events[#events + 1] = { entry[1], fields[2], fields[4], fields[6] }
      bytes = bytes + #fields[4]
    end
  end
  if #found < step then break end
end
return { 'found', held[1], held[2], events }
