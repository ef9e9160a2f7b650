//! Looks at the boards of Plane for what no webhook told: a task that was to be started, a gesture, an issue that is gone. It
//! goes through what applies deliveries; what that knows already is no event. Of a board only what changed since the last
//! look is read.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::id::TaskId;
use crate::domain::inbox::Outcome;
use crate::domain::sighting::{self, Meaning, Seen};
use crate::domain::task::{Task, TrackerKind};
use crate::domain::time::Timestamp;
use crate::domain::webhook::plane::{Issue, IssueChange};
use crate::engine::contain::{Unit, limited};
use crate::engine::issues::{self, Sighting};
use crate::engine::transition::{self, Abort};
use crate::engine::{EngineError, ProjectHandle};
use crate::integrations::tracker::plane::{Plane, PlaneError, State, WorkItem};
use crate::store::healing::NewHealing;
use crate::store::{Conn, StoreError, healing, outbox, tasks};

use super::super::instances::Duty;
use super::Sweep;

/// How far a board was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct Looked {
    /// What changed before this was seen; none: it was never read to its end.
    since: Option<Timestamp>,
    /// The last task whose issue was asked for by its id.
    asked: Option<TaskId>,
    /// Issues that were not there when they were asked for last.
    missing: BTreeSet<String>,
}

/// Issues that are asked for by their id in one sweep: of one that is gone no list tells.
const ASKED: usize = 5;

/// A gesture that was found so long ago goes without the words that came with it, if they cannot be read.
const LONG: Duration = Duration::from_secs(7200);

/// A change may be seen after a later one.
const OVERLAP: Duration = Duration::from_secs(300);

/// What a look at a board found.
#[derive(Default)]
struct Found {
    /// To be acted upon.
    lost: Vec<(WorkItem, String)>,
    /// Left to its webhook, or to the next sweep: the earliest change of them.
    left: Option<Timestamp>,
}

/// An issue that cannot be acted upon stands in no other's way.
type Trouble = Vec<String>;

impl Sweep<'_> {
    /// Looks at every board once. One that does not answer is looked at again in the next sweep.
    pub(super) async fn boards(&self) -> Result<(Vec<String>, Trouble), EngineError> {
        let (mut lines, mut trouble) = (Vec::new(), Vec::new());
        for project in self.engine.projects() {
            let Some((plane, at_plane)) = issues::plane_of(self.engine, project) else {
                continue;
            };
            let unit = Unit::Named(format!("the board of {}", project.config.name));
            let look = async {
                match self.board(project, (&plane, at_plane), &mut trouble).await {
                    Err(Stopped::Engine(e)) => Err(e),
                    Err(Stopped::Plane(e)) => Ok(Err(e)),
                    Ok(found) => Ok(Ok(found)),
                }
            };
            match limited(self.engine, unit, look).await {
                Ok(Ok(found)) => lines.extend(found),
                Ok(Err(e)) => trouble.push(format!("the board of {} is not read: {e}", project.config.name)),
                Err(EngineError::Hangs) => {}
                Err(e @ EngineError::Store(_)) => return Err(e),
                Err(e) => trouble.push(format!("the board of {} is not read: {e}", project.config.name)),
            }
        }
        Ok((lines, trouble))
    }

    async fn board(
        &self,
        project: &Arc<ProjectHandle>,
        (plane, at_plane): (&Plane, &str),
        trouble: &mut Trouble,
    ) -> Result<Vec<String>, Stopped> {
        let mut looked = self.engine.board(project.id);
        let states = plane.known_states(at_plane, self.engine.now()).await?;
        let latest = Cell::new(None);
        let asks = |item: &WorkItem| {
            latest.set(latest.get().max(item.updated_at));
            let name = state_of(&states, item);
            name.is_some_and(|name| project.config.board.gesture(name).is_some())
        };
        let items = plane
            .work_items(at_plane, asks, looked.since, &|| self.engine.now())
            .await?;
        let found = self.lost(project, &states, items).await?;
        let (mut lines, mut left) = (Vec::new(), found.left);
        for (item, state) in found.lost {
            let at = item.updated_at;
            let what = IssueChange::Stands(Issue {
                state_id: item.state,
                state_name: Some(state),
                updated_at: at,
                ..Issue::default()
            });
            if !self
                .act((project, at_plane), &item.id, what, &mut lines, trouble)
                .await?
            {
                // Looked at again until it is settled.
                left = earliest(left, at);
            }
        }
        self.gone(project, (plane, at_plane), &mut looked, &mut lines, trouble)
            .await?;
        let read_to = latest.get().map(|at| at - OVERLAP).max(looked.since);
        looked.since = match left {
            Some(left) => earliest(Some(left), read_to),
            None => read_to,
        };
        self.engine.remember_board(project.id, looked);
        Ok(lines)
    }

    /// Those that something is to be done about, as far as can be told before it is done.
    async fn lost(
        &self,
        project: &ProjectHandle,
        states: &[State],
        items: Vec<WorkItem>,
    ) -> Result<Found, EngineError> {
        let named: Vec<_> = items
            .into_iter()
            .filter_map(|item| {
                let name = state_of(states, &item)?.to_owned();
                let gesture = project.config.board.gesture(&name)?;
                Some((item, name, gesture))
            })
            .collect();
        let (now, grace) = (self.now, self.engine.settings().reconcile.grace_default);
        let read = self.engine.store().read(move |tx| {
            let mut found = Found::default();
            for (item, name, gesture) in named {
                let seen = Seen {
                    state: &name,
                    gesture: Some(gesture),
                    at: item.updated_at,
                    changed: false,
                    overtaken: false,
                };
                let left = match tasks::by_issue(tx, TrackerKind::Plane, &item.id)? {
                    None => false,
                    Some(task) if task.status.is_terminal() => continue,
                    Some(task) => match sighting::meaning(&seen, &tasks::tracked(tx, task.id)?) {
                        Meaning::Asks(_) => outbox::has_state(tx, task.id)?,
                        Meaning::TooLate | Meaning::Unchanged | Meaning::Echo(_) | Meaning::Nothing => {
                            continue;
                        }
                    },
                };
                let young = item.updated_at.is_some_and(|at| now.since(at) < grace);
                match left || young {
                    true => found.left = earliest(found.left, item.updated_at),
                    false => found.lost.push((item, name)),
                }
            }
            Ok::<_, StoreError>(found)
        });
        Ok(read.await?)
    }

    /// Asks for some issues by their id, the next ones in the next sweep. One that is missing twice is gone.
    async fn gone(
        &self,
        project: &Arc<ProjectHandle>,
        (plane, at_plane): (&Plane, &str),
        looked: &mut Looked,
        lines: &mut Vec<String>,
        trouble: &mut Trouble,
    ) -> Result<(), Stopped> {
        let (id, after) = (project.id, looked.asked.unwrap_or(TaskId(0)));
        let read = self
            .engine
            .store()
            .read(move |tx| tasks::issues_after(tx, id, TrackerKind::Plane, after, ASKED));
        let asked = read.await.map_err(EngineError::from)?;
        for (_, issue) in &asked {
            match plane.work_item(at_plane, issue, self.engine.now()).await {
                Ok(_) => drop(looked.missing.remove(issue)),
                Err(PlaneError::NotFound { .. }) => {
                    // It may be the project that cannot be seen any more.
                    plane.states(at_plane, self.engine.now()).await?;
                    if looked.missing.insert(issue.clone()) {
                        continue;
                    }
                    let gone = IssueChange::Gone;
                    if self.act((project, at_plane), issue, gone, lines, trouble).await? {
                        looked.missing.remove(issue);
                    }
                }
                Err(e) if e.is_everywhere() => return Err(e.into()),
                Err(e) => trouble.push(format!("an issue of {}: {e}", project.config.name)),
            }
        }
        // The end: from the first one on.
        looked.asked = asked.last().map(|(id, _)| *id).filter(|_| asked.len() == ASKED);
        Ok(())
    }

    /// Does what one issue asks for. False: it could not be done now.
    async fn act(
        &self,
        (project, at_plane): (&Arc<ProjectHandle>, &str),
        issue: &str,
        what: IssueChange,
        lines: &mut Vec<String>,
        trouble: &mut Trouble,
    ) -> Result<bool, Stopped> {
        let since = match &what {
            IssueChange::Stands(issue) => issue.updated_at,
            IssueChange::Gone => None,
        };
        let waited = since.map(|at| self.now.since(at)).unwrap_or_default();
        let sighting = Sighting {
            issue: issue.to_owned(),
            project: Some(at_plane.to_owned()),
            person: None,
            what,
            changed: false,
            // What people wrote with it is not waited for without an end.
            tries: if waited > LONG { i32::MAX } else { 0 },
            may_ask: true,
        };
        let mark = self.marks(&sighting);
        match issues::apply(self.engine, &sighting, mark).await {
            Ok(Outcome::Applied(what)) => {
                self.engine.remember_unblocked(what.clone());
                lines.push(format!("{what} (lost webhook)"));
                Ok(true)
            }
            Ok(Outcome::Ignored(_)) => Ok(true),
            Err(EngineError::Lost) => Ok(false),
            Ok(Outcome::Parked(why) | Outcome::Later(why)) => {
                trouble.push(format!("an issue of {}: {why}", project.config.name));
                Ok(false)
            }
            Err(e @ EngineError::Store(_)) => Err(e.into()),
            Err(e) => {
                trouble.push(format!("an issue of {}: {e}", project.config.name));
                Ok(false)
            }
        }
    }

    /// Tells people in the transaction that heals.
    fn marks(
        &self,
        sighting: &Sighting,
    ) -> impl FnOnce(&mut Conn, &Outcome, Option<&Task>) -> Result<(), Abort> + Send + use<> {
        let (duty, token, now) = (Duty::of(self.engine), self.token, self.now);
        let instance = self.engine.instance().clone();
        let notify = self.engine.settings().reconcile.notify_unblock;
        let since = match &sighting.what {
            IssueChange::Stands(issue) => issue.updated_at,
            IssueChange::Gone => None,
        };
        move |tx, outcome, task| {
            if duty.held(tx, now)? != Some(token) {
                return Err(Abort::Lost);
            }
            let (Outcome::Applied(what), Some(task)) = (outcome, task) else {
                return Ok(());
            };
            let event = NewHealing {
                kind: "reconciler".into(),
                subject: format!("{} at {}", task.work_item_id, task.stage),
                why: "lost webhook".into(),
                action: what.clone(),
                stuck: since.map(|at| now.since(at)),
                instance,
            };
            healing::push(tx, &event, now)?;
            if !notify {
                return Ok(());
            }
            let text = format!("{} unblocked at {} (lost webhook)", task.work_item_id, task.stage);
            transition::notify(tx, task, "unblocked", &text, now)
        }
    }
}

fn state_of<'s>(states: &'s [State], item: &WorkItem) -> Option<&'s str> {
    let id = item.state.as_ref()?;
    let found = states.iter().find(|state| state.id == *id);
    found.map(|state| state.name.as_str())
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Why a look at a board ended.
enum Stopped {
    Plane(PlaneError),
    Engine(EngineError),
}

impl From<PlaneError> for Stopped {
    fn from(e: PlaneError) -> Self {
        Self::Plane(e)
    }
}

impl From<EngineError> for Stopped {
    fn from(e: EngineError) -> Self {
        Self::Engine(e)
    }
}
