-- Takes for a batch of requests, one after the other, each all or none.
--
-- The arithmetic is proxy/core/bucket.py and proxy/core/counting.py, transcribed line
-- by line under the same names; change both or neither. tests/edge/test_bucket_store.py
-- and test_other_limits.py compare them on random histories.
--
-- KEYS  what the requests take from, in order; one may occur again and again. None in
--       a Redis Cluster, which would have them all in one slot: there ARGV has them.
-- ARGV  now in microseconds ("" for this server's clock); without KEYS, how many keys
--       there are and they, all of this server; then for each request a
--       number and what it takes from. The number is how many there are to take from;
--       below 0, how many there are to settle, where a cost below 0 is given back (to
--       take, it is taken if it is there, and refuses nobody if it is not); 0
--       is for one that is to hold more for a while, with the instant of the end after
--       it. Each is written, with costs in units (cost * limit.token in Python), as
--         refill, capacity, cost                      a bucket
--         -1, capacity, cost, until                   a window
--         -2, capacity, cost, id ("" for all), us     holds
--         -3, free, cost, wait, most, forget          a back-off
-- Reply for each, in order: a verdict, and the level of a bucket in units or what is
--       left of anything else. The verdict is 1 + ahead where a take was allowed, and
--       -ahead where it was not, where ahead is how far the instant of the level is
--       ahead of now, in microseconds. Of all but takes the reply says 0 and 0.
--
-- Lua's numbers are doubles. No sum or product here passes 2^53 (RateLimit.of sees to
-- it), and for whole a and b with a + b < 2^53 the double a / b never rounds onto or
-- across a whole number, so math.ceil(a / b) is exact.

local WINDOW, HOLDS = -1, -2
local MAX_FAILURES = 1000000
local LENGTHS = {[-1] = 4, [-2] = 5, [-3] = 6}

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local keys, argument, stored = KEYS, 2, nil
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
-- and a foreign text does not match: both count as one never touched, and the next
-- write mends them. What is lent until an instant stands behind the state.
local levels, instants, extras, ends = {}, {}, {}, {}
for i, key in ipairs(keys) do
  if stored[i] then
    local level, at = string.match(stored[i], '^(%d+):(%d+)$')
    if not level then
      local extra, until_us
      level, at, extra, until_us =
        string.match(stored[i], '^(%d+):(%d+):(%d+):(%d+)$')
      if level and tonumber(until_us) > now then
        extras[key], ends[key] = tonumber(extra), tonumber(until_us)
      end
    end
    levels[key], instants[key] = tonumber(level), tonumber(at)
  end
end

local function us_until_full(refill, capacity, level)
  return math.ceil((capacity - level) / refill)
end

local function level_at(key, refill, capacity, extra)
  local level, at = levels[key], instants[key]
  if not level then
    return capacity + extra, now
  end
  local elapsed = now - at
  if elapsed <= 0 then
    if -elapsed > us_until_full(refill, capacity, 0) then
      return capacity + extra, now
    end
    return math.min(level, capacity + extra), at
  end
  if elapsed >= us_until_full(refill, capacity + extra, level) then
    return capacity + extra, now
  end
  return level + elapsed * refill, now
end

local function failures_at(key, most, forget)
  local failures, at = levels[key], instants[key]
  if not failures then
    return 0, now
  end
  local elapsed = now - at
  if elapsed >= forget or -elapsed > most then
    return 0, now
  end
  return failures, at
end

local function wait_after(failures, free, wait, most)
  local more = failures - free
  if more < 0 then
    return 0
  end
  return math.min(wait * 2 ^ math.min(more, 50), most)
end

local function in_use(key)
  return redis.call('ZCOUNT', key, string.format('(%.0f', now), '+inf')
end

local function hold(key, id, us)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now))
  redis.call('ZADD', key, string.format('%.0f', now + us), id)
  redis.call('PEXPIRE', key, string.format('%.0f', math.ceil(us / 1000) + 1000))
end

local lives = {}  -- microseconds from now until a written state is as good as none
local reply = {}

local function write(key, level, at, us)
  levels[key], instants[key], lives[key] = level, at, us
end

local function write_bucket(key, refill, capacity, level, at)
  -- The bucket's own instant may be ahead of now.
  write(key, level, at, math.max(at - now, 0) + us_until_full(refill, capacity, level))
end

-- What one request takes from; capacities with what is lent.
local refill, capacity, cost, level, at, first = {}, {}, {}, {}, {}, {}
local soft, enough = {}, {}

-- Reads what is written at ARGV[argument], and how it stands now. Returns whether there
-- is enough, how long there is not, and where the next one is written.
local function read(i, key, argument, to_take)
  refill[i], cost[i] = tonumber(ARGV[argument]), tonumber(ARGV[argument + 2])
  soft[i] = to_take and cost[i] < 0
  if soft[i] then
    cost[i] = -cost[i]
  end
  first[i] = argument
  if refill[i] > 0 then
    local base, extra = tonumber(ARGV[argument + 1]), extras[key] or 0
    capacity[i] = base + extra
    level[i], at[i] = level_at(key, refill[i], base, extra)
    return level[i] >= cost[i], math.max(at[i] - now, 0), argument + 3
  end
  capacity[i] = tonumber(ARGV[argument + 1])
  local next_one = argument + LENGTHS[refill[i]]
  if refill[i] == WINDOW then
    capacity[i] = capacity[i] + (extras[key] or 0)
    level[i], at[i] = math.min(levels[key] or capacity[i], capacity[i]), now
    local until_us = tonumber(ARGV[argument + 3])
    return level[i] >= cost[i], math.max(until_us - now, 0), next_one
  end
  if refill[i] == HOLDS then
    level[i], at[i] = in_use(key), 0
    return level[i] + cost[i] <= capacity[i], 0, next_one
  end
  local wait, most = tonumber(ARGV[argument + 3]), tonumber(ARGV[argument + 4])
  level[i], at[i] = failures_at(key, most, tonumber(ARGV[argument + 5]))
  local due = at[i] + wait_after(level[i], capacity[i], wait, most)
  return due <= now or cost[i] == 0, math.max(due - now, 0), next_one
end

local function spend(i, key)
  local argument = first[i]
  if refill[i] > 0 then
    level[i] = level[i] - cost[i]
    write_bucket(key, refill[i], capacity[i], level[i], at[i])
  elseif refill[i] == WINDOW then
    level[i] = level[i] - cost[i]
    write(key, level[i], at[i], math.max(tonumber(ARGV[argument + 3]) - now, 0))
  elseif refill[i] == HOLDS then
    level[i] = level[i] + cost[i]
    hold(key, ARGV[argument + 3], tonumber(ARGV[argument + 4]))
  else
    level[i] = math.min(level[i] + cost[i], MAX_FAILURES)
    write(key, level[i], now, tonumber(ARGV[argument + 5]))
  end
end

local function left(i)
  if refill[i] >= WINDOW then
    return level[i]
  end
  return math.max(0, capacity[i] - level[i])
end

-- Takes for one request, from keys[key + 1 .. key + count], what is written from
-- ARGV[argument] on. Returns where the next request is written.
local function take(key, argument, count)
  local everywhere, something = true, false
  for i = 1, count do
    local ahead
    enough[i], ahead, argument = read(i, keys[key + i], argument, true)
    everywhere = everywhere and (enough[i] or soft[i])
    something = something or cost[i] > 0
    reply[2 * (key + i) - 1] = enough[i] and 1 + ahead or -ahead
  end
  for i = 1, count do
    if everywhere and something and enough[i] and cost[i] > 0 then
      spend(i, keys[key + i])
    end
    reply[2 * (key + i)] = left(i)
  end
  return argument
end

-- Charges one bucket, or gives back.
local function settle_bucket(key, base, units)
  local refill, extra = refill[1], capacity[1] - base
  if units <= -base then
    return write_bucket(key, refill, base + extra, base + extra, now)
  end
  local level, at = level[1], at[1]
  units = math.min(units, base)
  if units <= level then
    if at > now and units < 0 then
      local sooner = math.min(at - now, math.floor(-units / refill))
      at = at - sooner
      units = units + sooner * refill
    end
    level = math.min(level - units, base + extra)
    return write_bucket(key, refill, base + extra, level, at)
  end
  local missing = units - level
  local later = math.ceil(missing / refill)
  local latest = math.min(now + us_until_full(refill, base, 0), 2^53 - 1)
  if at + later > latest then
    return write_bucket(key, refill, base + extra, 0, latest)
  end
  write_bucket(key, refill, base + extra, later * refill - missing, at + later)
end

-- Charges what is written at ARGV[argument], or gives back. Returns where the next one
-- is written.
local function settle(key, argument)
  local _, _, next_one = read(1, key, argument, false)
  local base, tokens = tonumber(ARGV[argument + 1]), cost[1]
  if refill[1] > 0 then
    settle_bucket(key, base, tokens)
  elseif refill[1] == WINDOW then
    local most, after = capacity[1], math.max(0, math.min(level[1] - tokens, capacity[1]))
    local us = math.max(tonumber(ARGV[argument + 3]) - now, 0)
    write(key, tokens <= -base and most or after, now, us)
  elseif refill[1] == HOLDS then
    local id = ARGV[argument + 3]
    if id == '' then
      redis.call('DEL', key)
    elseif tokens > 0 then
      hold(key, id, tonumber(ARGV[argument + 4]))
    else
      redis.call('ZREM', key, id)
    end
  else
    local forget = tonumber(ARGV[argument + 5])
    if tokens > 0 then
      at[1] = now
    end
    if tokens <= -MAX_FAILURES then
      level[1], at[1], tokens = 0, now, 0
    end
    local failures = math.max(0, math.min(level[1] + tokens, MAX_FAILURES))
    write(key, failures, at[1], at[1] + forget - now)
  end
  return next_one
end

-- Lets what is written at ARGV[argument] hold more until an instant, and fills it in.
local function lend(key, argument)
  local _, _, next_one = read(1, key, argument, false)
  local until_us = tonumber(ARGV[next_one])
  if until_us <= now then
    return next_one + 1
  end
  local base, extra = tonumber(ARGV[argument + 1]), extras[key] or 0
  local flow = math.max(refill[1], 0)
  local units = math.min(cost[1], 2^53 - 1 - flow - base - extra)
  extras[key], ends[key] = extra + units, until_us
  write(key, level[1] + units, at[1], 0)
  return next_one + 1
end

local key = 0
while argument <= #ARGV do
  local count = tonumber(ARGV[argument])
  argument = argument + 1
  if count > 0 then
    argument = take(key, argument, count)
    key = key + count
  else
    for i = 1, math.max(-count, 1) do
      local run = count == 0 and lend or settle
      argument = run(keys[key + i], argument)
      reply[2 * (key + i) - 1], reply[2 * (key + i)] = 0, 0
    end
    key = key + math.max(-count, 1)
  end
end

-- A full bucket is the same as an absent one, so each key lives until it is full, and
-- a second more for rounding.
for name, us in pairs(lives) do
  local text = string.format('%.0f:%.0f', levels[name], instants[name])
  if extras[name] then
    text = string.format('%s:%.0f:%.0f', text, extras[name], ends[name])
    us = math.max(us, ends[name] - now)
  end
  redis.call('SET', name, text,
    'PX', string.format('%.0f', math.ceil(us / 1000) + 1000))
end

return reply
