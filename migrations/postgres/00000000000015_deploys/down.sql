DROP TABLE quarantine;
DROP TABLE deploys;
