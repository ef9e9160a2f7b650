//! Claiming: gathers what the decision needs, asks `domain::claim`, and writes the claims in one update.
//! Never decides by itself what fits.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;

use super::about::{about, batches, days_left, spent_up};
use super::admission::{Admission, SHARE, admit};
use super::closed::closed;
use super::places::{RunningJob, places, running};
use super::request::ClaimRequest;
use super::take::take;
use super::{JobRow, Queued, QueuedReserved, Running};
use crate::domain::claim::{Busy, Candidate, Eligibility, Given, Held, Slots, eligible};
use crate::domain::id::{ClaimEpoch, JobId, NodeName, ProjectId, TaskId};
use crate::domain::job::{Claim, Job, JobKind};
use crate::domain::retry::Scope;
use crate::domain::task::TaskStatus;
use crate::domain::time::Timestamp;
use crate::schema::{jobs, runs, tasks};
use crate::store::conn::Serial;
use crate::store::decode::{Row, rows};
use crate::store::deploys::rolled_back;
use crate::store::tasks::{Unfinished, cell};
use crate::store::{Conn, Listing, StoreError, retries};

/// Candidates looked at in one go, at least and at most, where the first ones did not suffice: held ones are passed
/// over page by page.
const PAGE: std::ops::RangeInclusive<usize> = 16..=256;

/// Claims the oldest available jobs of the highest priority that fit. A claim costs an attempt and grows the
/// epoch. Jobs that cannot be read are left queued and reported: the reaper fails those that stay so.
///
/// # Errors
/// See [`StoreError`].
pub fn claim_next(conn: &mut Conn, request: &ClaimRequest) -> Result<Listing<Job>, StoreError> {
    let admission = admit(conn, request)?;
    let mut search = Search::begin(conn, request, Look::AndClaim)?;
    let agents = search.running.iter().filter(|r| !r.reserved).count();
    if !admission.holds(agents, request.max_concurrency) {
        // Rare: while this one waited for its turn, others claimed more than a thousand jobs.
        return Err(StoreError::Locked {
            place: "the queue".to_owned(),
        });
    }
    match admission {
        Admission::Alone => {
            search.walk(conn, JobKind::Agent, request.limit)?;
            search.walk(conn, JobKind::DeployFinalizer, request.limit)?;
        }
        Admission::SideBySide => search.walk(conn, JobKind::Agent, request.limit.min(SHARE))?,
    }
    search.claim(conn)
}

/// A job that fits: priority and id give the order in which jobs are taken.
struct Found {
    priority: i32,
    id: i64,
    /// The half-open breaker that it is let through.
    trial: Option<Scope>,
    /// Where its agent runs, when not on the claimer's own node.
    node: Option<NodeName>,
}

/// One search for jobs to claim.
struct Search<'a> {
    request: &'a ClaimRequest,
    look: Look,
    slots: Slots,
    running: Vec<RunningJob>,
    /// The slots know of the tasks that change paths.
    knows_busy: bool,
    found: Vec<Found>,
    broken: Vec<(i64, String)>,
}

impl<'a> Search<'a> {
    fn begin(conn: &mut Conn, request: &'a ClaimRequest, look: Look) -> Result<Self, StoreError> {
        let running = running(conn)?;
        let reserved = running.iter().filter(|r| r.reserved).count();
        let closed = closed(conn, request, look == Look::AndClaim)?;
        let slots = Slots {
            agent: request.max_concurrency.saturating_sub(running.len() - reserved),
            places: places(request, &closed, &running),
            shut: closed.shut,
            half_open: closed.half_open,
            reserved: request.reserved_ceiling.saturating_sub(reserved),
            paused: request.paused,
            no_room: request.no_room,
            no_watch: request.no_watch,
            known: request.known_projects.clone(),
            day_left: days_left(conn, request)?,
            reserve: request.budgets.reserve,
            ..Slots::default()
        };
        Ok(Self {
            request,
            look,
            slots,
            running,
            knows_busy: false,
            found: Vec::new(),
            broken: Vec::new(),
        })
    }

    /// Looks through the queued jobs of a kind (any reserved kind stands for all), best first.
    fn walk(&mut self, conn: &mut Conn, kind: JobKind, mut wanted: usize) -> Result<(), StoreError> {
        let mut after = TOP;
        // At first no more than is wanted: what this one looks at, others must pass over.
        let mut least = 1;
        while wanted > 0 && !self.slots.exhausted(kind) {
            let size = wanted.clamp(least, *PAGE.end());
            least = *PAGE.start();
            let page = page(conn, kind, self.request.now, after, size, self.look)?;
            let last = page.last().map(|row| (row.priority, row.id));
            let full = page.len() == size;
            for (found, candidate) in self.candidates(conn, page)? {
                if wanted > 0 && eligible(&candidate, &self.slots) == Eligibility::Fits {
                    let Given { trial, node } = self.slots.take(&candidate);
                    self.found.push(Found { trial, node, ..found });
                    wanted -= 1;
                }
            }
            match last {
                Some(last) if full => after = last,
                Some(_) | None => break,
            }
        }
        Ok(())
    }

    /// What the decision needs to know about a page of jobs.
    fn candidates(
        &mut self,
        conn: &mut Conn,
        page: Vec<JobRow>,
    ) -> Result<Vec<(Found, Candidate)>, StoreError> {
        let ids: Vec<i64> = page.iter().map(|row| row.task_id).collect();
        let (paths, mut waits) = about(conn, &ids)?;
        let batches = match self.slots.knows_scopes() {
            true => batches(conn, &ids)?,
            false => BTreeMap::new(),
        };
        let spent_up = spent_up(conn, self.request, &page)?;
        let rolled_back = match self.slots.no_watch {
            true => rolled_back(conn, &ids)?,
            false => BTreeSet::new(),
        };
        let mut candidates = Vec::with_capacity(page.len());
        for row in page {
            let found = Found {
                priority: row.priority,
                id: row.id,
                trial: None,
                node: None,
            };
            let modifies = match paths.get(&row.task_id) {
                Some(text) => cell(&row.task_id, "modifies").json(text),
                None => Ok(Vec::new()),
            };
            match (row.decode(), modifies) {
                (Ok(job), Ok(modifies)) => {
                    self.learn(job.project_id);
                    if !modifies.is_empty() && !job.kind.is_reserved() && !self.knows_busy {
                        self.knows_busy = true;
                        self.learn_busy(conn)?;
                    }
                    let candidate = Candidate {
                        task: job.task_id,
                        project: job.project_id,
                        kind: job.kind,
                        scope: match batches.get(&job.task_id.0) {
                            Some(batch) => Scope::Batch(batch.clone()),
                            None => Scope::Project(job.project_id),
                        },
                        waits_for: waits.remove(&job.task_id.0).unwrap_or_default(),
                        modifies,
                        spent_up: spent_up.contains(&job.task_id),
                        rolls_back: rolled_back.contains(&job.task_id),
                        labels: self.request.nodes.wanted_by(job.project_id, job.role),
                    };
                    candidates.push((found, candidate));
                }
                (Err(error), _) | (_, Err(error)) => {
                    self.broken.push((found.id, error.to_string()));
                }
            }
        }
        Ok(candidates)
    }

    /// Makes the limits of a project known to the slots.
    fn learn(&mut self, project: ProjectId) {
        if self.slots.project.contains_key(&project) {
            return;
        }
        let own = self
            .request
            .project_concurrency
            .iter()
            .find(|(p, _)| *p == project);
        if let Some(limit) = own.map(|(_, n)| *n).or(self.request.default_project_concurrency) {
            let agents = self
                .running
                .iter()
                .filter(|r| r.project == project && !r.reserved);
            self.slots
                .project
                .insert(project, limit.saturating_sub(agents.count()));
        }
    }

    /// Makes known to the slots which tasks change paths and have begun or run. Asked for once, and only if a
    /// candidate changes paths. By status alone: an index by project would lead through all finished tasks.
    fn learn_busy(&mut self, conn: &mut Conn) -> Result<(), StoreError> {
        if self.look == Look::AndClaim {
            conn.serialize_on(Serial::Paths)?;
        }
        let found: Vec<(i64, i64, String, String)> = on!(conn, c => tasks::table
            .filter(Unfinished)
            .filter(tasks::modifies.ne("[]"))
            .select((tasks::id, tasks::project_id, tasks::status, tasks::modifies))
            .load(c))?;
        let ids: Vec<i64> = found.iter().map(|(id, ..)| *id).collect();
        let begun: Vec<i64> = on!(conn, c => runs::table
            .filter(runs::task_id.eq_any(&ids))
            .select(runs::task_id)
            .distinct()
            .load(c))?;
        let begun: BTreeSet<i64> = begun.into_iter().collect();
        // Looked at anew: since the others were counted, one that changes paths may have been claimed beside us.
        let running: Vec<i64> = on!(conn, c => jobs::table
            .filter(Running)
            .select(jobs::task_id)
            .load(c))?;
        let running: BTreeSet<i64> = running.into_iter().collect();
        for (id, project, status, modifies) in found {
            let moving = matches!(
                TaskStatus::parse(&status),
                Some(TaskStatus::Active | TaskStatus::WaitingHuman)
            );
            let is_running = running.contains(&id);
            let in_flight = moving && begun.contains(&id);
            if !is_running && !in_flight {
                continue;
            }
            match cell(&id, "modifies").json(&modifies) {
                Ok(modifies) => self.slots.busy.push(Busy {
                    task: TaskId(id),
                    project: ProjectId(project),
                    modifies,
                    running: is_running,
                    in_flight,
                }),
                Err(error) => self.broken.push((id, error.to_string())),
            }
        }
        Ok(())
    }

    /// Writes the claims of what was found, in the order in which it was to be taken.
    fn claim(mut self, conn: &mut Conn) -> Result<Listing<Job>, StoreError> {
        self.found.sort_by_key(|f| (std::cmp::Reverse(f.priority), f.id));
        self.found.truncate(self.request.limit);
        let broken = self.broken;
        if self.found.is_empty() {
            return Ok(Listing {
                rows: Vec::new(),
                broken,
            });
        }
        // One update for each node: mostly there is one.
        let mut by_node: BTreeMap<Option<&NodeName>, Vec<i64>> = BTreeMap::new();
        for found in &self.found {
            by_node.entry(found.node.as_ref()).or_default().push(found.id);
        }
        let mut claimed = Vec::with_capacity(self.found.len());
        for (node, ids) in by_node {
            claimed.extend(take(conn, self.request, node, ids)?);
        }
        for found in &self.found {
            let row = claimed.iter().find(|row| row.id == found.id);
            if let (Some(scope), Some(row)) = (&found.trial, row) {
                let trial = Claim {
                    job: JobId(row.id),
                    epoch: ClaimEpoch(row.claim_epoch),
                };
                retries::let_through(conn, scope, trial)?;
            }
        }
        claimed.sort_by_key(|row| (std::cmp::Reverse(row.priority), row.id));
        let mut listing = Listing::of(claimed);
        listing.broken.extend(broken);
        Ok(listing)
    }
}

/// Why the first `window` agent jobs that are available, and as many reserved ones, are not claimed, each with its
/// reason; those that are to be claimed next are left out. Writes nothing.
///
/// # Errors
/// See [`StoreError`].
pub fn held(
    conn: &mut Conn,
    request: &ClaimRequest,
    window: usize,
) -> Result<Vec<(JobId, Held)>, StoreError> {
    let mut search = Search::begin(conn, request, Look::Only)?;
    let mut jobs = page(conn, JobKind::Agent, request.now, TOP, window, search.look)?;
    jobs.extend(page(
        conn,
        JobKind::GateCheck,
        request.now,
        TOP,
        window,
        search.look,
    )?);
    let mut found = Vec::new();
    for (job, candidate) in search.candidates(conn, jobs)? {
        match eligible(&candidate, &search.slots) {
            Eligibility::Fits => drop(search.slots.take(&candidate)),
            Eligibility::Held(why) => found.push((JobId(job.id), why)),
        }
    }
    Ok(found)
}

/// Before the first page: priority and id of the last job seen.
const TOP: (i32, i64) = (i32::MAX, 0);

/// What a page of queued jobs is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// To claim from it.
    AndClaim,
    /// To tell how it stands.
    Only,
}

/// A page of queued jobs that are available, best first. To claim on PostgreSQL, rows that another transaction holds
/// (a cancel, a change of priority) are passed over, and those seen stay as they are until this one ends.
fn page(
    conn: &mut Conn,
    kind: JobKind,
    now: Timestamp,
    after: (i32, i64),
    size: usize,
    look: Look,
) -> Result<Vec<JobRow>, StoreError> {
    let (priority, id) = after;
    macro_rules! query {
        ($which:expr) => {
            jobs::table
                .filter($which)
                .filter(jobs::available_at.le(now.0))
                .filter(jobs::priority.le(priority))
                .filter(jobs::priority.lt(priority).or(jobs::id.gt(id)))
                .order((jobs::priority.desc(), jobs::id))
                .limit(rows(size))
                .select(JobRow::as_select())
        };
    }
    let agent = jobs::kind.eq(JobKind::Agent.as_str());
    Ok(match (conn, kind.is_reserved()) {
        (Conn::Sqlite(c), false) => query!(Queued.and(agent)).load(c)?,
        (Conn::Sqlite(c), true) => query!(QueuedReserved).load(c)?,
        (Conn::Pg(c), false) if look == Look::Only => query!(Queued.and(agent)).load(c)?,
        (Conn::Pg(c), true) if look == Look::Only => query!(QueuedReserved).load(c)?,
        (Conn::Pg(c), false) => query!(Queued.and(agent)).for_update().skip_locked().load(c)?,
        (Conn::Pg(c), true) => query!(QueuedReserved).for_update().skip_locked().load(c)?,
    })
}
