-- Drops one entry. ARGV: fingerprint.
drop(ARGV[1])
