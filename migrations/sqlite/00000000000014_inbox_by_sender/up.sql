-- What each sender's deliveries wait for is its own.
DROP INDEX inbox_pending;
CREATE INDEX inbox_pending ON inbox (source, id) WHERE status = 'pending';
