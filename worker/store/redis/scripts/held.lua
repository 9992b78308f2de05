-- Tell which of some claim keys are held by somebody alive; whoever lets go of one from now on says so.
local held = {}
for i = position + 1, #ARGV do
  local id = redis.call('GET', key('taken', ARGV[i]))
  local claim = id and claim_of(id)
  if claim and lives(claim) then
    held[#held + 1] = ARGV[i]
    if not claim.awaited then
      redis.call('HSET', key('claim', id), 'awaited', '1')
    end
  end
end
return held
