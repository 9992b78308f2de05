-- Undoing a `begin` that nobody received: no call was made, so none is counted.

local function give_back(id, call)
  local claim = claim_of(id)
  if not claim or claim.owner ~= me or claim.call ~= call then
    return false
  end
  remove(claim)
  local row = load_row(id)
  if row and row.state == 'open' and row.run == claim.run and row.attempts > 0 then
    change(row, { attempts = row.attempts - 1 })
  end
  return true
end
