ALTER TABLE tasks DROP COLUMN tracker_at;
ALTER TABLE tasks DROP COLUMN tracker_unseen;
DROP TABLE inbox;
