-- Drops entries whose life has ended; gives how many. ARGV: now in us, at most so many.
return bury(ARGV[1], tonumber(ARGV[2]))
