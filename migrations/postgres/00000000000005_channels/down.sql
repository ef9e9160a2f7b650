DROP INDEX outbox_pending_by_task;
CREATE INDEX outbox_pending_by_task ON outbox (task_id, id) WHERE status = 'pending';
ALTER TABLE outbox DROP COLUMN unanswered;
ALTER TABLE outbox DROP COLUMN channel;
