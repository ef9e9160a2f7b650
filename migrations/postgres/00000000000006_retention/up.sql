-- When the history of a finished task was pruned; what is left to prune is found by the index alone.
ALTER TABLE tasks ADD COLUMN pruned_at BIGINT;
CREATE INDEX tasks_to_prune ON tasks (finished_at, id) WHERE finished_at IS NOT NULL AND pruned_at IS NULL;
CREATE INDEX runs_kept_by_age ON runs (finished_at, id) WHERE wip_ref IS NOT NULL;
CREATE INDEX outbox_sent ON outbox (sent_at, id) WHERE status = 'sent';
CREATE INDEX healing_events_by_age ON healing_events (at, id);
CREATE INDEX instances_stopped ON instances (stopped_at, id) WHERE stopped_at IS NOT NULL;
