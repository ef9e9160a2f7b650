-- What is kept of runs, newest first; and deeds that were begun and perhaps not done.
CREATE INDEX runs_kept ON runs (id) WHERE wip_ref IS NOT NULL;
CREATE INDEX intents_open ON intents (id) WHERE status = 'intended';
