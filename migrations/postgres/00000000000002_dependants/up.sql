-- Who waits for a task: asked when it is cancelled.
CREATE INDEX task_dependencies_by_target ON task_dependencies (depends_on);
