ALTER TABLE jobs DROP COLUMN agent_node;
