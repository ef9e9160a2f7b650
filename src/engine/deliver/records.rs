//! Notices of artifacts, brought to each project's repository: the projects side by side, one notice after the other in each,
//! until its repository takes nothing. What is there already is not written twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;

use crate::domain::delivery::{Sending, fate};
use crate::domain::id::ProjectId;
use crate::domain::task::Task;
use crate::git::Recorded;
use crate::store::outbox::Notice;
use crate::store::{StoreError, tasks};

use super::super::contain::{Unit, limited};
use super::super::records::{self, Onto};
use super::super::{EngineError, ProjectHandle};
use super::{Done, Round};

impl Round<'_> {
    pub(super) async fn to_repositories(&self, notices: Vec<Notice>) -> Result<Done, EngineError> {
        let mut by_project: BTreeMap<Option<ProjectId>, Vec<(Notice, Option<Task>)>> = BTreeMap::new();
        for notice in notices {
            let id = notice.task_id;
            let read = self.engine.store().read(move |tx| match id {
                Some(id) => tasks::by_id(tx, id),
                None => Ok::<_, StoreError>(None),
            });
            let task = read.await?;
            let project = task.as_ref().map(|task| task.project_id);
            by_project.entry(project).or_default().push((notice, task));
        }
        let rounds = by_project.into_values().map(|own| self.to_repository(own));
        let mut done = Done::default();
        for one in join_all(rounds).await {
            let one = one?;
            done.sent += one.sent;
            done.trouble.extend(one.trouble);
        }
        Ok(done)
    }

    async fn to_repository(&self, notices: Vec<(Notice, Option<Task>)>) -> Result<Done, EngineError> {
        let mut done = Done::default();
        for (notice, task) in notices {
            let sending = self.record_artifact(&notice, task.as_ref()).await;
            let now = self.engine.now();
            let give_up_after = self.engine.settings().notify.give_up_after;
            let fate = fate(&sending, notice.attempted(), give_up_after, now);
            done.went(&notice, &fate);
            let away = matches!(sending, Sending::Down { .. });
            let recorded = self.marked(move |tx| super::record(tx, notice.id, &fate, now));
            if recorded.await?.is_none() || away {
                break;
            }
        }
        Ok(done)
    }

    async fn record_artifact(&self, notice: &Notice, task: Option<&Task>) -> Sending {
        let Some(task) = task else {
            let why = "it names no task that is known".to_owned();
            return Sending::Refused { why };
        };
        let project = match self.engine.project(task.project_id) {
            Ok(project) => project,
            Err(e) => return down(e.to_string()),
        };
        let file = (notice.text("name"), notice.text("text"));
        // A repository that hangs is passed over until that ends; it delays nobody for longer than this step.
        let unit = Unit::Named(format!("artifacts of {}", project.config.name));
        let write = records::write(&project, task, file, Onto::Merged);
        match limited(self.engine, unit, write).await {
            Ok(recorded) => said(&project, task, recorded),
            Err(EngineError::Git(e)) => down(project.explain(&e)),
            Err(e) => down(e.to_string()),
        }
    }
}

fn said(project: &Arc<ProjectHandle>, task: &Task, recorded: Recorded) -> Sending {
    match recorded {
        Recorded::Committed(_) | Recorded::Same(_) => Sending::Accepted,
        Recorded::Absent => Sending::Refused {
            why: format!(
                "branch {} is gone and is not made anew: set records_ref in {}, restart the service, then `orch outbox resend`",
                task.branch,
                project.config.source.display()
            ),
        },
        Recorded::Moved { .. } => down("the ref moves all the time".to_owned()),
        Recorded::Refused { why } => down(format!("the repository refuses it: {why}")),
    }
}

fn down(why: String) -> Sending {
    Sending::Down { why, after: None }
}
