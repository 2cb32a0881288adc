-- Keeps an agent from being made under an id that a request stands for; where it is there, says by which request.
local agent, gone, staged, log, marks = unpack(KEYS)
local known = redis.call('HGET', agent, 'request')
if known then return { 'there', known } end
redis.call('HSET', gone, ARGV[1], ARGV[2])
redis.call('UNLINK', staged, log, marks)
return { 'done' }
