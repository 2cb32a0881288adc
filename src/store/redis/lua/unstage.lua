-- Throws away what stands aside.
redis.call('UNLINK', unpack(KEYS))
return 'done'
