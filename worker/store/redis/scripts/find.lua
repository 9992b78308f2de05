local decided = standing(load_row(job.id))
if not decided and is_called_off(job.id) then
  return { 'called off' }
end
return decided or { 'nothing' }
