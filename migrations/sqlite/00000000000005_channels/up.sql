-- Order is kept per task and channel: a receiver that is down holds up nobody else's notices.
ALTER TABLE outbox ADD COLUMN channel TEXT NOT NULL DEFAULT 'tracker'
  CHECK (channel IN ('tracker', 'people', 'log', 'webhook', 'telegram'));
-- Deliveries that were sent and not answered.
ALTER TABLE outbox ADD COLUMN unanswered INTEGER NOT NULL DEFAULT 0;
UPDATE outbox SET channel = 'people' WHERE kind = 'notification';
DROP INDEX outbox_pending_by_task;
CREATE INDEX outbox_pending_by_task ON outbox (task_id, channel, id) WHERE status = 'pending';
