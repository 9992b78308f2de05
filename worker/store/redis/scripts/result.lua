local row = row_of_asker()
if not row then
  return { 'unknown' }
end
if row.state == 'open' then
  return { 'not ended', 0 }
end
return settled(row)
