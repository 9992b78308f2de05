-- The job as this delivery shows it.

local job = {
  id = argument(),
  tenant = argument(),
  key = argument(),
  tier = argument(),
  lane = argument(),
  path = argument(),
  model = argument(),
  content_hash = argument(),
  priority = argument(),
  submission = argument(),
  route = argument(),
  submitted_at = argument(),
  received_at = argument(),
  deadline = argument(),
  run = tonumber(argument()),
  generation = tonumber(argument()),
  first = argument() == '1',
  not_before = argument(),
  claim_key = argument(),
  dedupe = argument(),
}
