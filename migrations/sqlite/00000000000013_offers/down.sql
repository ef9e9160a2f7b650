DROP INDEX node_cuts_by_end;
ALTER TABLE instances DROP COLUMN offers;
