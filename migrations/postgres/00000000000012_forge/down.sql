DELETE FROM outbox WHERE channel = 'forge';
ALTER TABLE outbox DROP CONSTRAINT outbox_channel_check;
ALTER TABLE outbox ADD CONSTRAINT outbox_channel_check
  CHECK (channel IN ('tracker', 'people', 'log', 'webhook', 'telegram'));
ALTER TABLE outbox DROP CONSTRAINT outbox_kind_check;
ALTER TABLE outbox ADD CONSTRAINT outbox_kind_check
  CHECK (kind IN ('comment', 'state', 'notification'));

ALTER TABLE pull_requests DROP COLUMN forge_number;
