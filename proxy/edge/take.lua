-- Takes tokens from buckets, for several requests in one call.
--
-- A transcription of core/bucket.py: level_at and take, with the same names. Change
-- both or neither; a differential test compares them on random histories. All numbers
-- are integers below 2^53 (RateLimit.of sees to it), which doubles hold exactly.
--
-- KEYS     the buckets of all requests, in order
-- ARGV[1]  now in microseconds, or "" for the server's own clock
-- then, for each request: the number of its buckets, the cost in tokens, and for each
-- bucket: refill, token, capacity
--
-- Returns for each bucket, in order: 1 or 0 (enough), and the level it is left at.
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function level_at(key, refill, capacity)
  local state = redis.call('GET', key)
  if not state then
    return capacity, now
  end
  local separator = string.find(state, ':', 1, true)
  local level = tonumber(string.sub(state, 1, separator - 1))
  local at = tonumber(string.sub(state, separator + 1))
  local elapsed = now - at
  if elapsed <= 0 then
    return math.min(level, capacity), at
  end
  if elapsed >= math.ceil((capacity - level) / refill) then
    return capacity, now
  end
  return level + elapsed * refill, now
end

local answers = {}
local key, argument = 1, 2
while argument <= #ARGV do
  local buckets, cost = tonumber(ARGV[argument]), tonumber(ARGV[argument + 1])
  argument = argument + 2
  local current, everywhere = {}, true
  for i = 1, buckets do
    local refill = tonumber(ARGV[argument])
    local token = tonumber(ARGV[argument + 1])
    local capacity = tonumber(ARGV[argument + 2])
    argument = argument + 3
    local level, at = level_at(KEYS[key + i - 1], refill, capacity)
    local enough = level >= cost * token
    everywhere = everywhere and enough
    current[i] = {level, at, enough, cost * token, refill, capacity}
  end
  for i = 1, buckets do
    local level, at, enough, units, refill, capacity = unpack(current[i])
    if everywhere and cost > 0 then
      level = level - units
      -- A full bucket is the same as none, so a key lives until it is full.
      local full = math.ceil((capacity - level) / refill / 1000) + 1000
      redis.call('SET', KEYS[key + i - 1],
        string.format('%.0f:%.0f', level, at), 'PX', string.format('%.0f', full))
    end
    answers[#answers + 1] = enough and 1 or 0
    answers[#answers + 1] = level
  end
  key = key + buckets
end
return answers
