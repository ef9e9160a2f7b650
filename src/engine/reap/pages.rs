//! The running jobs that are for this instance to judge, page by page.

use crate::domain::id::{InstanceId, JobId, NodeName};
use crate::domain::job::{Job, JobStatus};
use crate::engine::{Engine, EngineError};
use crate::store::jobs::{self, Bare};
use crate::store::{Conn, StoreError};

const PAGE: usize = 200;

/// Goes past the jobs that are not for this instance.
#[derive(Default)]
pub(super) struct Pages {
    after: Option<JobId>,
}

/// A page.
pub(super) struct Page {
    pub jobs: Vec<Job>,
    /// Jobs whose rows cannot be read, and why.
    pub broken: Vec<(Bare, String)>,
}

impl Pages {
    pub(super) async fn next(&mut self, engine: &Engine) -> Result<Option<Page>, EngineError> {
        let after = self.after;
        let read = engine.store().read(move |tx| {
            let page = jobs::running(tx, after, PAGE)?;
            Ok::<_, StoreError>((page.rows, unreadable(tx, page.broken)?))
        });
        let (jobs, broken) = read.await?;
        let seen = jobs.iter().map(|job| job.id);
        let Some(last) = seen.chain(broken.iter().map(|(job, _)| job.claim.job)).max() else {
            return Ok(None);
        };
        self.after = Some(last);
        let own = |job: &Job| is_own(engine, job.node.as_ref(), job.instance.as_ref());
        let own_unread = |job: &Bare| is_own(engine, job.node.as_ref(), job.instance.as_ref());
        Ok(Some(Page {
            jobs: jobs.into_iter().filter(own).collect(),
            broken: broken.into_iter().filter(|(job, _)| own_unread(job)).collect(),
        }))
    }
}

/// What can be read of rows that cannot.
pub(super) fn unreadable(
    tx: &mut Conn,
    broken: Vec<(i64, String)>,
) -> Result<Vec<(Bare, String)>, StoreError> {
    let mut found = Vec::new();
    for (id, why) in broken {
        found.extend(jobs::bare(tx, JobId(id), JobStatus::Running)?.map(|job| (job, why)));
    }
    Ok(found)
}

/// Whoever has not adopted a job yet does not judge it. What no node has is judged by a service that is alone on its
/// database, and else by whoever is on duty, as that of an instance that nobody hears.
fn is_own(engine: &Engine, node: Option<&NodeName>, instance: Option<&InstanceId>) -> bool {
    match engine.store().is_shared() {
        true => instance == Some(engine.instance()),
        false => node.is_none_or(|node| *node == engine.settings().node),
    }
}
