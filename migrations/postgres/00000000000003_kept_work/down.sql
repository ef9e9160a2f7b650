DROP INDEX intents_open;
DROP INDEX runs_kept;
