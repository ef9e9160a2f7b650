-- Where the agent of the current claim runs, when that is not the machine of the service that drives the job.
ALTER TABLE jobs ADD COLUMN agent_node TEXT;
