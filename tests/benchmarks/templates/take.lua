-- One token from the bucket KEYS[1], by the server's clock; ARGV: tokens a second, burst.
-- The one number kept is when the bucket will be full again.
local time = redis.call("TIME")
local now = time[1] + time[2] / 1e6
local per_second, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = math.max(now, tonumber(redis.call("GET", KEYS[1]) or 0)) + 1 / per_second
if full_at - now > burst / per_second then return 0 end
local lifetime = math.ceil((full_at - now) * 1000)
redis.call("SET", KEYS[1], string.format("%.6f", full_at), "PX", lifetime)
return 1
