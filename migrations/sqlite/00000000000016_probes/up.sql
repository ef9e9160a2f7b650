-- Looks at production, before a deploy (negative slots) and after it.
CREATE TABLE probes (
  deploy_id BIGINT  NOT NULL REFERENCES deploys (id),
  slot      INTEGER NOT NULL,
  at        BIGINT  NOT NULL,
  -- NULL: nobody looked.
  ok        BOOLEAN,
  detail    TEXT,
  PRIMARY KEY (deploy_id, slot)
);
-- When health was judged.
ALTER TABLE deploys ADD COLUMN judged_at BIGINT;
-- The deploy whose revision had this one already; NULL: a hook or a merge brought it.
ALTER TABLE deploys ADD COLUMN brought_by BIGINT;
-- A rollback is a hook at work too: none runs side by side with a deploy.
DROP INDEX deploys_one_open;
CREATE UNIQUE INDEX deploys_one_open ON deploys (project_id) WHERE (status = 'open' OR action = 'ROLLING_BACK');
CREATE INDEX deploys_by_task ON deploys (task_id, id);
