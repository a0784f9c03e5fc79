-- Takes tokens for a batch of requests, one after the other, each all or none.
--
-- The arithmetic is proxy/core/bucket.py, transcribed line by line under the same
-- names; change both or neither. tests/edge/test_bucket_store.py compares them on
-- random histories.
--
-- KEYS  the buckets of all requests, in order; one may occur again and again. None in
--       a Redis Cluster, which would have them all in one slot: there ARGV has them.
-- ARGV  now in microseconds ("" for this server's clock); without KEYS, the number of
--       buckets and their keys, all on this server; then for each request the
--       number of its buckets, and for each of those: refill, capacity, cost, where
--       cost is in units (cost * limit.token in Python). A number below 0 is one of
--       buckets to settle, where a cost below 0 is given back.
-- Reply for each bucket, in order: a verdict and its level in units. The verdict is
--       1 + ahead where a take was allowed, and -ahead where it was not, where ahead
--       is how far the instant of the level is ahead of now, in microseconds; of
--       what was settled it says nothing.
--
-- Lua's numbers are doubles. No sum or product here passes 2^53 (RateLimit.of sees to
-- it), and for whole a and b with a + b < 2^53 the double a / b never rounds onto or
-- across a whole number, so math.ceil(a / b) is exact.

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local keys, argument = KEYS, 2
local stored
if #KEYS > 0 then
  stored = redis.call('MGET', unpack(KEYS))
else
  -- A key of another server is an error here, before anything is written.
  keys, stored = {}, {}
  for i = 1, tonumber(ARGV[2]) do
    local key = ARGV[2 + i]
    keys[i], stored[i] = key, redis.call('MGET', key)[1]
  end
  argument = 3 + #keys
end

-- The states that were read or written, by key. MGET answers nil for a foreign type,
-- and a foreign text does not match: both count as a bucket never touched, and the
-- next write mends them.
local levels, instants = {}, {}
for i, key in ipairs(keys) do
  if stored[i] then
    local level, at = string.match(stored[i], '^(%d+):(%d+)$')
    levels[key], instants[key] = tonumber(level), tonumber(at)
  end
end

local function us_until_full(refill, capacity, level)
  return math.ceil((capacity - level) / refill)
end

local function level_at(key, refill, capacity)
  local level, at = levels[key], instants[key]
  if not level then
    return capacity, now
  end
  local elapsed = now - at
  if elapsed <= 0 then
    if -elapsed > us_until_full(refill, capacity, 0) then
      return capacity, now
    end
    return math.min(level, capacity), at
  end
  if elapsed >= us_until_full(refill, capacity, level) then
    return capacity, now
  end
  return level + elapsed * refill, now
end

local lives = {}  -- microseconds from now until a written bucket is full, by key
local reply = {}
local refill, capacity, cost, level, at = {}, {}, {}, {}, {}  -- of one request

local function write(name, refill, capacity, level, at)
  levels[name], instants[name] = level, at
  -- The bucket's own instant may be ahead of now.
  lives[name] = math.max(at - now, 0) + us_until_full(refill, capacity, level)
end

-- Takes for one request, whose buckets are keys[key + 1 .. key + count] and whose
-- arguments begin at ARGV[argument].
local function take(key, argument, count)
  local everywhere, something = true, false
  for i = 1, count do
    refill[i] = tonumber(ARGV[argument])
    capacity[i] = tonumber(ARGV[argument + 1])
    cost[i] = tonumber(ARGV[argument + 2])
    argument = argument + 3
    level[i], at[i] = level_at(keys[key + i], refill[i], capacity[i])
    local enough = level[i] >= cost[i]
    everywhere = everywhere and enough
    something = something or cost[i] > 0
    local ahead = math.max(at[i] - now, 0)
    reply[2 * (key + i) - 1] = enough and 1 + ahead or -ahead
  end
  local taken = everywhere and something
  for i = 1, count do
    if taken then
      level[i] = level[i] - cost[i]
      if cost[i] > 0 then
        write(keys[key + i], refill[i], capacity[i], level[i], at[i])
      end
    end
    reply[2 * (key + i)] = level[i]
  end
end

-- Charges one bucket, or gives back.
local function settle(name, refill, capacity, units)
  if units <= -capacity then
    return write(name, refill, capacity, capacity, now)
  end
  local level, at = level_at(name, refill, capacity)
  units = math.min(units, capacity)
  if units <= level then
    if at > now and units < 0 then
      local sooner = math.min(at - now, math.floor(-units / refill))
      at = at - sooner
      units = units + sooner * refill
    end
    return write(name, refill, capacity, math.min(level - units, capacity), at)
  end
  local missing = units - level
  local later = math.ceil(missing / refill)
  local latest = math.min(now + us_until_full(refill, capacity, 0), 2^53 - 1)
  if at + later > latest then
    return write(name, refill, capacity, 0, latest)
  end
  write(name, refill, capacity, later * refill - missing, at + later)
end

local key = 0
while argument <= #ARGV do
  local count = tonumber(ARGV[argument])
  if count > 0 then
    take(key, argument + 1, count)
  else
    count = -count
    for i = 1, count do
      local first = argument + 3 * i - 2
      settle(keys[key + i], tonumber(ARGV[first]), tonumber(ARGV[first + 1]),
        tonumber(ARGV[first + 2]))
      reply[2 * (key + i) - 1], reply[2 * (key + i)] = 0, 0
    end
  end
  key = key + count
  argument = argument + 1 + 3 * count
end

-- A full bucket is the same as an absent one, so each key lives until it is full, and
-- a second more for rounding.
for name, us in pairs(lives) do
  redis.call('SET', name, string.format('%.0f:%.0f', levels[name], instants[name]),
    'PX', string.format('%.0f', math.ceil(us / 1000) + 1000))
end

return reply
