DROP INDEX inbox_pending;
CREATE INDEX inbox_pending ON inbox (id) WHERE status = 'pending';
