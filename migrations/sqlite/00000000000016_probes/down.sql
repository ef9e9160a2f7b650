DROP INDEX deploys_by_task;
DROP INDEX deploys_one_open;
CREATE UNIQUE INDEX deploys_one_open ON deploys (project_id) WHERE status = 'open';
ALTER TABLE deploys DROP COLUMN brought_by;
ALTER TABLE deploys DROP COLUMN judged_at;
DROP TABLE probes;
