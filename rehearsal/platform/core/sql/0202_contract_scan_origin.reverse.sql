-- Reverse mapping: who does not name an origin may leave it out again; every row keeps the one that it has.
ALTER TABLE scans ALTER COLUMN origin SET DEFAULT 'unknown';
