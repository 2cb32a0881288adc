-- Of the agents of these shards that wake up to a time, the first, at most `count`, each with its wake time.
local upTo, count = ARGV[1], tonumber(ARGV[2])
local found = {}
local function add(wake, from, limit)
  local those = redis.call('ZRANGEBYSCORE', wake, '-inf', upTo, 'WITHSCORES', 'LIMIT', from, limit)
  for n = 1, #those, 2 do found[#found + 1] = { those[n], those[n + 1], tonumber(those[n + 1]) } end
  return tonumber(those[#those]), #those / 2
end
local function sort()
  table.sort(found, function(a, b)
    if a[3] == b[3] then return a[1] < b[1] end
    return a[3] < b[3]
  end)
end

-- Of each shard about its share; of those that may have more of the first ones, all that could be wanted.
local share = math.min(count, 2 * math.ceil(count / #KEYS) + 1)
local rest = {}
for _, wake in ipairs(KEYS) do
  local last, read = add(wake, 0, share)
  if read == share and share < count then rest[#rest + 1] = { wake, last } end
end
sort()
local worst = found[count] and found[count][3] or math.huge
for _, shard in ipairs(rest) do
  if shard[2] <= worst then add(shard[1], share, count - share) end
end
sort()

local first = {}
for n = 1, math.min(count, #found) do
  first[2 * n - 1], first[2 * n] = found[n][1], found[n][2]
end
return first
