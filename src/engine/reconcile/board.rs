//! Looks at the boards of Plane for what no webhook told: a task that was to be started, a gesture, an issue that is gone. It
//! goes through what applies deliveries; what that knows already is no event. Of a board only what changed since the last
//! look is read.

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Looked {
    /// What changed before this was seen; none: it was never read to its end.
    pub since: Option<Timestamp>,
    /// The last task whose issue was asked for by its id.
    pub asked: TaskId,
}

impl Default for Looked {
    fn default() -> Self {
        Self {
            since: None,
            asked: TaskId(0),
        }
    }
}

/// Issues that are asked for by their id in one sweep: of one that is gone no list tells.
const ASKED: usize = 5;

/// A change may be seen after a later one.
const OVERLAP: Duration = Duration::from_secs(300);

/// What a look at a board found.
#[derive(Default)]
struct Found {
    /// To be acted upon.
    lost: Vec<(WorkItem, String)>,
    /// Left to its webhook, or to the next sweep: the earliest change of them.
    left: Option<Timestamp>,
    /// The latest change that was seen.
    latest: Option<Timestamp>,
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
        let before = self.engine.board(project.id);
        let states = plane.known_states(at_plane, self.now).await?;
        let asks = |item: &WorkItem| {
            let name = state_of(&states, item);
            name.is_some_and(|name| project.config.board.gesture(name).is_some())
        };
        let items = plane.work_items(at_plane, asks, before.since, self.now).await?;
        let found = self.lost(project, &states, items).await?;
        let mut lines = Vec::new();
        for (item, state) in found.lost {
            let what = IssueChange::Stands(Issue {
                state_id: item.state,
                state_name: Some(state),
                updated_at: item.updated_at,
                ..Issue::default()
            });
            self.act((project, at_plane), &item.id, what, &mut lines, trouble)
                .await?;
        }
        let asked = self
            .gone(project, (plane, at_plane), before.asked, &mut lines, trouble)
            .await?;
        let read_to = found.latest.map(|at| at - OVERLAP).max(before.since);
        let since = match (found.left, read_to) {
            (Some(left), Some(to)) => Some(left.min(to)),
            (None, to) => to,
            (left, None) => left,
        };
        self.engine.remember_board(project.id, Looked { since, asked });
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
                found.latest = found.latest.max(item.updated_at);
                let seen = Seen {
                    state: &name,
                    gesture: Some(gesture),
                    at: item.updated_at,
                    changed: false,
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

    /// Asks for some issues by their id, the next ones in the next sweep. Answers the last of their tasks.
    async fn gone(
        &self,
        project: &Arc<ProjectHandle>,
        (plane, at_plane): (&Plane, &str),
        after: TaskId,
        lines: &mut Vec<String>,
        trouble: &mut Trouble,
    ) -> Result<TaskId, Stopped> {
        let id = project.id;
        let read = self
            .engine
            .store()
            .read(move |tx| tasks::issues_after(tx, id, TrackerKind::Plane, after, ASKED));
        let asked = read.await.map_err(EngineError::from)?;
        for (_, issue) in &asked {
            match plane.work_item(at_plane, issue, self.now).await {
                Ok(_) => {}
                // It may be the project that cannot be seen any more.
                Err(PlaneError::NotFound { .. }) => {
                    plane.states(at_plane, self.now).await?;
                    self.act((project, at_plane), issue, IssueChange::Gone, lines, trouble)
                        .await?;
                }
                Err(e) => return Err(e.into()),
            }
        }
        // The end: from the first one on.
        Ok(match asked.len() < ASKED {
            true => TaskId(0),
            false => asked.last().map_or(TaskId(0), |(id, _)| *id),
        })
    }

    /// Does what one issue asks for.
    async fn act(
        &self,
        (project, at_plane): (&Arc<ProjectHandle>, &str),
        issue: &str,
        what: IssueChange,
        lines: &mut Vec<String>,
        trouble: &mut Trouble,
    ) -> Result<(), Stopped> {
        let sighting = Sighting {
            issue: issue.to_owned(),
            project: Some(at_plane.to_owned()),
            person: None,
            what,
            changed: false,
            tries: 0,
            may_ask: true,
        };
        let mark = self.marks(&sighting);
        match issues::apply(self.engine, &sighting, mark).await {
            Ok(Outcome::Applied(what)) => {
                self.engine.remember_unblocked(what.clone());
                lines.push(format!("{what} (lost webhook)"));
            }
            // Lost: somebody else did it meanwhile.
            Ok(Outcome::Ignored(_)) | Err(EngineError::Lost) => {}
            Ok(Outcome::Parked(why) | Outcome::Later(why)) => {
                trouble.push(format!("an issue of {}: {why}", project.config.name));
            }
            Err(e @ EngineError::Store(_)) => return Err(e.into()),
            Err(e) => trouble.push(format!("an issue of {}: {e}", project.config.name)),
        }
        Ok(())
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
