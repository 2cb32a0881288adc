-- How many agents of one shard stand at each place of the index, how many are due, when the first is, and some of those
-- that workers hold.
local index, wake = unpack(KEYS)
local nowMs, heldMax = ARGV[1], ARGV[2]
local counts = {}
for n = 3, #ARGV do
  counts[n - 2] = redis.call('ZLEXCOUNT', index, '(' .. ARGV[n] .. ':', '(' .. ARGV[n] .. ';')
end
local first = redis.call('ZRANGE', wake, 0, 0, 'WITHSCORES')
local held = redis.call('ZRANGEBYLEX', index, '(held:', '(held;', 'LIMIT', 0, heldMax)
return { counts, redis.call('ZCOUNT', wake, '-inf', nowMs), first[2] or NONE, held }
