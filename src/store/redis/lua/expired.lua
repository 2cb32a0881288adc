-- How many of these agents nobody holds any more: let go of, or with a lease that has run out.
local nowMs = tonumber(ARGV[1])
local expired = 0
for n = 1, #KEYS do
  local lease = redis.call('HGET', KEYS[n], 'lease')
  if not lease or tonumber(lease) <= nowMs then expired = expired + 1 end
end
return expired
