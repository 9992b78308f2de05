-- Whole numbers of any length, zero or more, as decimal texts without leading zeros: money is never a double.

local function shorter_or_less(one, other)
  if #one ~= #other then
    return #one < #other
  end
  return one < other
end

-- Give one + sign * other; for a sign of -1, `one` must not be the less.
local function combined(one, other, sign)
  local digits, carry = {}, 0
  for place = 1, math.max(#one, #other) do
    local digit = (one:byte(-place) or 48) - 48 + sign * ((other:byte(-place) or 48) - 48) + carry
    carry = math.floor(digit / 10)
    digits[place] = digit % 10
  end
  if carry > 0 then
    digits[#digits + 1] = carry
  end
  local sum = table.concat(digits):reverse():gsub('^0+', '')
  return sum == '' and '0' or sum
end

local function plus(one, other)
  return combined(one, other, 1)
end

-- Less than nothing is nothing.
local function minus(one, other)
  return shorter_or_less(one, other) and '0' or combined(one, other, -1)
end
