-- Deploys of a project, each attempted once. The number of a row is the attempt's.
CREATE TABLE deploys (
  id          INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  project_id  BIGINT NOT NULL REFERENCES projects (id),
  task_id     BIGINT NOT NULL REFERENCES tasks (id),
  visit       BIGINT NOT NULL,
  -- What main received, and is deployed.
  revision    TEXT   NOT NULL,
  -- Who confirmed it; NULL where the project waived the gesture.
  person      TEXT,
  -- What ran before, where that could be asked.
  previous    TEXT,
  -- Machine on which the hook was started.
  node        TEXT   NOT NULL,
  status      TEXT   NOT NULL CHECK (status IN ('open', 'succeeded', 'failed', 'unknown')),
  result      TEXT,
  created_at  BIGINT NOT NULL,
  finished_at BIGINT,
  -- Production as it was watched afterwards, and what was done about it.
  health      TEXT CHECK (health IN ('HEALTHY', 'DEGRADED', 'INCONCLUSIVE')),
  action      TEXT,
  -- One for each Confirm Deploy: whoever is asked again is asked for another visit.
  UNIQUE (task_id, visit)
);
-- Two hooks of a project never run side by side.
CREATE UNIQUE INDEX deploys_one_open ON deploys (project_id) WHERE status = 'open';
CREATE INDEX deploys_by_project ON deploys (project_id, id);

-- Revisions that are not deployed again.
CREATE TABLE quarantine (
  project_id  BIGINT NOT NULL REFERENCES projects (id),
  revision    TEXT   NOT NULL,
  task_id     BIGINT NOT NULL REFERENCES tasks (id),
  reason      TEXT   NOT NULL,
  created_at  BIGINT NOT NULL,
  PRIMARY KEY (project_id, revision)
);
