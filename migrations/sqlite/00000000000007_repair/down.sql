ALTER TABLE jobs DROP COLUMN timeout_percent;
DROP INDEX tasks_of_batch;
ALTER TABLE tasks DROP COLUMN batch;
DROP TABLE batches;
DROP TABLE retry_audit;
DROP TABLE retry_scopes;
DROP TABLE node_cuts;
DROP TABLE node_states;
DROP TABLE incidents;
