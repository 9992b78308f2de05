-- What every script of the ledger begins with: its arguments, in order, and how keys and numbers are written.

local prefix = KEYS[1]
local position = 0

local function argument()
  position = position + 1
  return ARGV[position]
end

local function key(...)
  return table.concat({ prefix, ... }, ':')
end

-- Numbers above 2^53, such as a deadline in the year 9999, pass as text and are only compared as numbers.
local function text(number)
  return string.format('%.0f', number)
end

local function later(one, other)
  if not one or tonumber(one) < tonumber(other) then
    return other
  end
  return one
end

local me = argument()
local now_text = argument()
local now = tonumber(now_text)
local record_ttl = tonumber(argument())
local result_ttl = tonumber(argument())
local answer_ttl = tonumber(argument())
local lease = tonumber(argument())

local function milliseconds(span)
  return math.max(1, math.ceil(span / 1000))
end
