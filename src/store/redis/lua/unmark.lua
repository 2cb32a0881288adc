-- Removes some stale marks of what stands aside, from a cursor on, and answers the next one; at the end the rest can come.
local staged, marks = unpack(KEYS)
local cursor, count = unpack(ARGV)
local forked = redis.call('HGET', staged, 'forked')
if not forked or forked == NONE then return { 'done' } end
local found = redis.call('HSCAN', marks, cursor, 'COUNT', count)
for n = 1, #found[2], 2 do
  local key, value = found[2][n], found[2][n + 1]
  if isMessage(key) and tonumber(string.match(value, '^%d+')) < tonumber(forked) then redis.call('HDEL', marks, key) end
end
if found[1] ~= '0' then return { 'more', found[1] } end
redis.call('HSET', staged, 'forked', NONE)
return { 'done' }
