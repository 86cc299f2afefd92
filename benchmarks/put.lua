-- Puts the builds of a file, one on each line, in turn: wrk -s put.lua URL -- FILE TOKEN
-- In the end it writes the requests, the microseconds and the errors, on a line of their own.

local requests = {}
local turn = 0

function init(arguments)
  local headers = {
    ["Authorization"] = "Bearer " .. arguments[2],
    ["Content-Type"] = "application/json",
  }
  for body in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format("PUT", nil, headers, body)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary)
  local errors = 0
  for _, count in pairs(summary.errors) do
    errors = errors + count
  end
  io.write(string.format("\n%d %d %d\n", summary.requests, summary.duration, errors))
end
