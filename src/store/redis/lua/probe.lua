-- Writes what a later write replaces: fails where the server takes no writes.
return redis.call('HSET', KEYS[1], 'probed', redis.call('TIME')[1])
