-- Put before each of the other scripts.

local NONE = ''

-- The part of the index in which an agent is listed: apart from the other waiting ones where a worker has it.
local function placeOf(status, worker)
  if status == 'waiting_for_step' and worker ~= NONE then return 'held' end
  return status
end

local function moveInIndex(index, id, from, to)
  if from == to then return end
  redis.call('ZREM', index, from .. ':' .. id)
  redis.call('ZADD', index, 0, to .. ':' .. id)
end

local function setWake(wake, id, wakeAt)
  if wakeAt == NONE then redis.call('ZREM', wake, id) else redis.call('ZADD', wake, wakeAt, id) end
end

-- Gives a worker the lease: its epoch, the claims with it, whether the worker before never let go, the work told of.
local function take(agent, wake, index, lease)
  local held = redis.call('HMGET', agent, 'status', 'worker', 'epoch', 'claims', 'worked')
  local status, before, id = held[1], held[2], lease.id
  local epoch, claims = held[3] + 1, held[4] + 1
  redis.call('HSET', agent, 'worker', lease.worker, 'lease', lease.untilMs, 'epoch', epoch, 'claims', claims)
  redis.call('ZADD', wake, lease.untilMs, id)
  moveInIndex(index, id, placeOf(status, before), placeOf(status, lease.worker))
  return { epoch, claims, before ~= NONE and 1 or 0, held[5] }
end

-- A command's wake time, unless the agent is driven; and the lease, where it was wished for and the agent is due.
local function grant(agent, wake, index, wish)
  local held = redis.call('HMGET', agent, 'worker', 'lease')
  if held[1] ~= NONE and tonumber(held[2]) > tonumber(wish.nowMs) then return nil end
  setWake(wake, wish.id, wish.wakeAt)
  if wish.worker == NONE or wish.wakeAt == NONE then return nil end
  if tonumber(wish.wakeAt) > tonumber(wish.nowMs) then return nil end
  return take(agent, wake, index, wish)
end

-- Adds `count` events and then marks, as they stand in ARGV from `at` on, behind event `after`; gives what stands behind.
local function write(log, marks, after, at)
  local count = tonumber(ARGV[at])
  for n = 1, count do
    local from = at + 3 * (n - 1)
    redis.call('XADD', log, '0-' .. string.format('%.0f', after + n), 'at', ARGV[from + 1], 'body', ARGV[from + 2],
      'hash', ARGV[from + 3])
  end
  at = at + 3 * count + 1
  local marked = tonumber(ARGV[at])
  for n = 1, marked do
    redis.call('HSETNX', marks, ARGV[at + 2 * n - 1], ARGV[at + 2 * n])
  end
  return at + 2 * marked + 1
end

-- Whether a mark is of what a client sent under a message id.
local function isMessage(key) return string.sub(key, 1, 8) == 'message ' end

-- Tells who listens that the agent has changed, and when it is due now: "ORIGIN WAKE AGENT". Gives that time.
local function tell(publish, channel, origin, wake, id)
  local wakeAt = redis.call('ZSCORE', wake, id) or NONE
  redis.call(publish, channel, origin .. ' ' .. wakeAt .. ' ' .. id)
  return wakeAt
end
