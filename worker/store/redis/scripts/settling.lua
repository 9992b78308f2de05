-- What `end` and `park` have in common: whose the open row is.
--
-- Both may find that the claim under which the call ran was taken over. If the taker lives and works on the same
-- job, its delivery carries the job from here, and ours is stale. If it took the key for another job, let go of it or
-- died, nobody but us has an outcome or a delivery at hand: then what we have is recorded after all, since to drop the
-- delivery would lose the job and to repeat the call would pay twice.

-- Give the open row that may be settled and our claim to release; or nil, nil and what stands, the claim released.
--
-- `call` is the number of our call, '' where it is not known: a claim of another call of this process is not ours.
local function open_row(claimed, call, operation)
  local claim = claim_of(job.id)
  if claim and claim.owner ~= me then
    if not lives(claim) then
      take_over(claim)
    elseif claimed then
      return nil, nil, standing(load_row(job.id), operation) or { 'stale' }
    end
  end
  -- Without `claimed`, or of another run, a claim of this process belongs to a call that still runs.
  local mine = claimed and claim and claim.owner == me and (call == '' or call == claim.call)
  local ours = mine and claim.run == job.run and claim or nil
  if ours then
    local row = load_row(job.id)
    if row and row.state == 'open' and row.run == job.run then
      -- Whoever holds the claim has the outcome, also when its delivery came again and was parked by a follower: to
      -- leave it to the parked copy would call a second time.
      return row, ours
    end
  end
  local row, decided = enter(operation)
  if not row and ours then
    remove(ours)
  end
  return row, ours, decided
end
