-- The number that a pull request has at Gitea.
ALTER TABLE pull_requests ADD COLUMN forge_number BIGINT;

-- Pull requests are opened at a forge by notices.
ALTER TABLE outbox DROP CONSTRAINT outbox_kind_check;
ALTER TABLE outbox ADD CONSTRAINT outbox_kind_check
  CHECK (kind IN ('comment', 'state', 'notification', 'pull_request'));
ALTER TABLE outbox DROP CONSTRAINT outbox_channel_check;
ALTER TABLE outbox ADD CONSTRAINT outbox_channel_check
  CHECK (channel IN ('tracker', 'forge', 'people', 'log', 'webhook', 'telegram'));
