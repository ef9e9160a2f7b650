DROP INDEX instances_stopped;
DROP INDEX healing_events_by_age;
DROP INDEX outbox_sent;
DROP INDEX runs_kept_by_age;
DROP INDEX tasks_to_prune;
ALTER TABLE tasks DROP COLUMN pruned_at;
