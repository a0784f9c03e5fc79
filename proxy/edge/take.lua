-- Takes tokens for a batch of requests, one after the other, each all or none.
--
-- The arithmetic is proxy/core/bucket.py, transcribed line by line under the same
-- names; change that file first. The differential test in
-- tests/edge/test_bucket_store.py holds the two together.
--
-- KEYS  the buckets of all requests, in order; one may occur again and again.
-- ARGV  now in microseconds ("" for this server's clock), then for each request the
--       number of its buckets, and for each of those: refill, capacity, cost, where
--       cost is in units (cost * limit.token in Python).
-- Reply for each bucket, in order: 1 or 0 for allowed, and its level in units.
--
-- Lua's numbers are doubles. No sum or product here passes 2^53 (RateLimit.of sees to
-- it), and for whole a and b with a + b < 2^53 the double a / b never rounds onto or
-- across a whole number, so math.ceil(a / b) is exact.

local function us_until_full(limit, level)
  return math.ceil((limit.capacity - level) / limit.refill)
end

local function level_at(limit, state, now)
  if not state then
    return limit.capacity, now
  end
  local level, at = state.level, state.at
  local elapsed = now - at
  if elapsed <= 0 then
    if -elapsed > us_until_full(limit, 0) then
      return limit.capacity, now
    end
    return math.min(level, limit.capacity), at
  end
  if elapsed >= us_until_full(limit, level) then
    return limit.capacity, now
  end
  return level + elapsed * limit.refill, now
end

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- MGET answers nil for a foreign type, and a foreign text does not match: both count
-- as a bucket never touched, and the next write mends them.
local buckets = {}
local stored = redis.call('MGET', unpack(KEYS))
for i, key in ipairs(KEYS) do
  if stored[i] and not buckets[key] then
    local level, at = string.match(stored[i], '^(%d+):(%d+)$')
    if level then
      buckets[key] = {level = tonumber(level), at = tonumber(at)}
    end
  end
end

local touched = {}
local reply = {}
local key, argument = 1, 2

local function take(count)
  local limits, states, enough, everywhere = {}, {}, {}, true
  local cost = 0
  for i = 1, count do
    local limit = {
      refill = tonumber(ARGV[argument]),
      capacity = tonumber(ARGV[argument + 1]),
      cost = tonumber(ARGV[argument + 2]),
    }
    argument = argument + 3
    local level, at = level_at(limit, buckets[KEYS[key + i - 1]], now)
    limits[i], states[i] = limit, {level = level, at = at}
    enough[i] = level >= limit.cost
    everywhere = everywhere and enough[i]
    cost = limit.cost
  end
  local taken = cost > 0 and everywhere
  for i = 1, count do
    if taken then
      local name = KEYS[key + i - 1]
      states[i].level = states[i].level - limits[i].cost
      buckets[name], touched[name] = states[i], limits[i]
    end
    reply[#reply + 1] = enough[i] and 1 or 0
    reply[#reply + 1] = states[i].level
  end
  key = key + count
end

while argument <= #ARGV do
  local count = tonumber(ARGV[argument])
  argument = argument + 1
  take(count)
end

-- A full bucket is the same as an absent one, so each key lives until it is full (from
-- its own instant, which may be ahead of now), and a second more for rounding.
for name, limit in pairs(touched) do
  local level, at = buckets[name].level, buckets[name].at
  local us = math.max(at - now, 0) + us_until_full(limit, level)
  redis.call('SET', name, string.format('%.0f:%.0f', level, at),
             'PX', string.format('%.0f', math.ceil(us / 1000) + 1000))
end

return reply
