ALTER TABLE runs DROP COLUMN charged_micro_usd;
DROP TABLE task_spend;
DROP TABLE project_spend;
