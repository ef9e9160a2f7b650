-- What only one of several instances does at a time. The token outlives every holder.
CREATE TABLE duties (
  name       TEXT   PRIMARY KEY NOT NULL,
  instance   TEXT   NOT NULL,
  expires_at BIGINT NOT NULL,
  token      BIGINT NOT NULL
);
