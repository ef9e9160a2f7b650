-- The nodes that an instance runs agents on, with their slots and labels (JSON); NULL where it did not say.
ALTER TABLE instances ADD COLUMN offers TEXT;
-- What is over, and what is not, whatever the node.
CREATE INDEX node_cuts_by_end ON node_cuts (until);
