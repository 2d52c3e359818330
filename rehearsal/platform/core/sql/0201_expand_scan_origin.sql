-- Expand: a scan says who asked for it. 2027.Q2 does not know the column, and its rows get what nobody said.
ALTER TABLE scans ADD COLUMN origin text NOT NULL DEFAULT 'unknown' CHECK (length(origin) BETWEEN 1 AND 100);
CREATE INDEX scans_origin ON scans (origin, created);
