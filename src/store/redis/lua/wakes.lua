-- Of the agents of these shards that wake up to a time, the first, at most `count`, each with its wake time.
local upTo, count = ARGV[1], tonumber(ARGV[2])
local found = {}
for _, wake in ipairs(KEYS) do
  local those = redis.call('ZRANGEBYSCORE', wake, '-inf', upTo, 'WITHSCORES', 'LIMIT', 0, count)
  for n = 1, #those, 2 do found[#found + 1] = { those[n], those[n + 1], tonumber(those[n + 1]) } end
end
table.sort(found, function(a, b)
  if a[3] == b[3] then return a[1] < b[1] end
  return a[3] < b[3]
end)
local first = {}
for n = 1, math.min(count, #found) do
  first[2 * n - 1], first[2 * n] = found[n][1], found[n][2]
end
return first
