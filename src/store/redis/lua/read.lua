-- The head, its hash, and the events behind number `after`: at most `limit`, and none behind the one that passes `bytesMax`.
-- Event `after` itself stands before them without its body, for its hash.
local agent, log = unpack(KEYS)
local after, limit, bytesMax = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local held = redis.call('HMGET', agent, 'head', 'hash')
if not held[1] then return { 'missing' } end
local from = math.max(1, after)
if after > 0 then limit = limit + 1 end
local events, bytes = {}, 0
-- A few at a time, so that a page of large events is not read much further than it is given.
local step = 16
while #events < limit and bytes <= bytesMax do
  local found = redis.call('XRANGE', log, '0-' .. string.format('%.0f', from + #events), '+', 'COUNT', step)
  for _, entry in ipairs(found) do
    if #events < limit and bytes <= bytesMax then
      local fields = entry[2]
      local body = fields[4]
      if after > 0 and #events == 0 then body = '' end
      events[#events + 1] = { entry[1], fields[2], body, fields[6] }
      bytes = bytes + #body
    end
  end
  if #found < step then break end
end
return { 'found', held[1], held[2], events }
