-- For wrk: one request for each line of the file named after `--`, a token each, in turn;
-- an empty line is a request without one. A second file is a JSON body to POST. Ends with
-- one line of JSON.
local requests, turn = {}, 0

function init(arguments)
  local method, body = "GET", nil
  if arguments[2] then
    method, body = "POST", io.open(arguments[2]):read("a")
  end
  for token in io.lines(arguments[1]) do
    local headers = {}
    if token ~= "" then headers["Authorization"] = "Bearer " .. token end
    if body then headers["Content-Type"] = "application/json" end
    requests[#requests + 1] = wrk.format(method, nil, headers, body)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local failed = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "seconds": %.6f, "p50": %.6f, "p99": %.6f, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
    failed.status, failed.connect + failed.read + failed.write + failed.timeout))
end
