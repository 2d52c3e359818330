-- Contract: nobody may leave the origin out. Breaks 2027.Q2, which can no longer take a scan; undone by 0202's reverse.
ALTER TABLE scans ALTER COLUMN origin DROP DEFAULT;
