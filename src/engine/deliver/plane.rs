//! Notices of tasks whose issues are in Plane: one after the other, until Plane as a whole takes nothing. A comment can be
//! repeated, for Plane knows its cause; before a state is written it is asked for, and noted that it will be. A state that
//! another one follows is not written, and none over what a person decided before that is applied.

use std::time::Duration;

use crate::domain::delivery::{Fate, Sending, fate};
use crate::domain::id::StageName;
use crate::domain::inbox::Outcome;
use crate::domain::pipeline::Role;
use crate::domain::task::{Task, TaskStatus, TrackerKind};
use crate::domain::time::Timestamp;
use crate::domain::webhook::plane::{Issue, IssueChange};
use crate::engine::issues::{self, Sighting};
use crate::engine::transition::Abort;
use crate::engine::{EngineError, ProjectHandle};
use crate::integrations::tracker::plane::{NewComment, Plane, PlaneError, StateChange, Wanted};
use crate::store::outbox::{self, Notice, OutboxKind};
use crate::store::{Conn, Guarded, StoreError, readable, tasks};

use super::{Done, Round, describe};

/// After so long the rest waits for the next round: other receivers are served in it too.
const TURN: Duration = Duration::from_secs(5);

/// How a notice went.
struct Went {
    sending: Sending,
    everywhere: bool,
    /// The state on the board, and since when the issue has it.
    wrote: Option<(String, Option<Timestamp>)>,
    note: Option<String>,
}

impl Went {
    fn accepted() -> Self {
        Self {
            sending: Sending::Accepted,
            everywhere: false,
            wrote: None,
            note: None,
        }
    }

    /// Of this notice alone.
    fn held(why: String) -> Self {
        Self {
            sending: Sending::Down { why, after: None },
            ..Self::accepted()
        }
    }
}

impl From<PlaneError> for Went {
    fn from(e: PlaneError) -> Self {
        Self {
            sending: e.sending(),
            everywhere: e.is_everywhere(),
            ..Self::accepted()
        }
    }
}

impl Round<'_> {
    /// Those of the notices that go to Plane, with their tasks where they can be read, and the rest.
    pub(super) async fn by_tracker(
        &self,
        notices: Vec<Notice>,
    ) -> Result<(Vec<(Notice, Option<Task>)>, Vec<Notice>), EngineError> {
        let read = self.engine.store().read(move |tx| {
            let (mut away, mut here) = (Vec::new(), Vec::new());
            for notice in notices {
                let tracker = match notice.task_id {
                    Some(id) => tasks::tracker_of(tx, id)?.map(|tracker| (id, tracker)),
                    None => None,
                };
                match tracker {
                    Some((id, TrackerKind::Plane)) => away.push((notice, readable(tasks::by_id(tx, id))?)),
                    Some((_, TrackerKind::Local)) | None => here.push(notice),
                }
            }
            Ok::<_, StoreError>((away, here))
        });
        Ok(read.await?)
    }

    pub(super) async fn to_plane(&self, notices: Vec<(Notice, Option<Task>)>) -> Result<Done, EngineError> {
        let mut done = Done::default();
        let began = self.engine.now();
        let plane = match notices.is_empty() {
            true => None,
            false => Plane::of(self.engine.settings(), &self.engine.plane),
        };
        for (notice, task) in notices {
            let went = match &task {
                Some(task) => self.at_plane(plane.as_ref(), &notice, task).await?,
                None => Some(Went::held("the row of its task cannot be read".to_owned())),
            };
            let Some(went) = went else { break };
            let now = self.engine.now();
            let give_up_after = self.engine.settings().notify.give_up_after;
            let fate = fate(&went.sending, notice.attempted(), give_up_after, now);
            done.went(&notice, &fate);
            let note = went.note.as_ref();
            done.trouble
                .extend(note.map(|note| format!("{}: {note}", describe(&notice))));
            let everywhere = went.everywhere;
            let recorded = self.marked(move |tx| record(tx, &notice, &went, &fate, now));
            if recorded.await?.is_none() || everywhere || now.since(began) >= TURN {
                break;
            }
        }
        Ok(done)
    }

    /// None: another instance delivers by now.
    async fn at_plane(
        &self,
        plane: Option<&Plane>,
        notice: &Notice,
        task: &Task,
    ) -> Result<Option<Went>, EngineError> {
        let Some(plane) = plane else {
            let why = "not set up any more: set plane.url, plane.api_token and plane.workspace again";
            return Ok(Some(Went::held(why.to_owned())));
        };
        let handle = self.engine.projects().find(|p| p.id == task.project_id);
        let project = handle.and_then(|p| p.config.plane_project.as_deref());
        let Some((handle, project)) = handle.zip(project) else {
            let why = "the task's project names no plane_project any more: set it again in its file";
            return Ok(Some(Went::held(why.to_owned())));
        };
        match notice.kind {
            OutboxKind::Comment => Ok(Some(self.comment(plane, notice, (project, task)).await)),
            OutboxKind::State => {
                if self.is_superseded(notice, task).await? {
                    return Ok(Some(Went::accepted()));
                }
                let state = standing(notice).map(|(status, stage)| handle.config.board.state(status, &stage));
                let state = state.unwrap_or_else(|| notice.text("state")).to_owned();
                self.state(plane, (notice, state), (handle, project, task)).await
            }
            OutboxKind::Notification | OutboxKind::PullRequest | OutboxKind::Artifact => {
                Ok(Some(Went::accepted()))
            }
        }
    }

    async fn comment(&self, plane: &Plane, notice: &Notice, (project, task): (&str, &Task)) -> Went {
        let author = notice.text("author");
        let comment = NewComment {
            project,
            issue: &task.external_id,
            external_id: &notice.cause,
            author,
            body: notice.text("body"),
        };
        let now = self.engine.now();
        let said = match Role::parse(author) {
            Some(role) => plane.speaking_as(role).comment(&comment, now).await,
            None => plane.comment(&comment, now).await,
        };
        said.map_or_else(Went::from, |()| Went::accepted())
    }

    /// Whether a later state of the task is to be written anyway: after an outage only the last one is.
    async fn is_superseded(&self, notice: &Notice, task: &Task) -> Result<bool, EngineError> {
        let (task, notice) = (task.id, notice.id);
        let read = self.engine.store();
        Ok(read
            .read(move |tx| outbox::has_state_after(tx, task, notice))
            .await?)
    }

    async fn state(
        &self,
        plane: &Plane,
        (notice, state): (&Notice, String),
        (handle, project, task): (&ProjectHandle, &str, &Task),
    ) -> Result<Option<Went>, EngineError> {
        let issue = task.external_id.as_str();
        let wanted = plane.want_state(project, issue, &state, self.engine.now()).await;
        let change = match wanted {
            Ok(Wanted::Change(change)) => change,
            Ok(Wanted::There { at }) => {
                return Ok(Some(Went {
                    wrote: Some((state, at)),
                    ..Went::accepted()
                }));
            }
            Ok(Wanted::NoSuchState) => {
                return Ok(Some(Went {
                    note: Some(format!("the board has no state {state:?}: nothing was written")),
                    ..Went::accepted()
                }));
            }
            Err(e) => return Ok(Some(e.into())),
        };
        let decided = match decided(plane, (handle, project), &change, self.engine.now()).await {
            Ok(decided) => decided,
            Err(e) => return Ok(Some(e.into())),
        };
        if let Some(decided) = decided {
            match self.decide(task, project, decided).await? {
                Outcome::Applied(_) if self.is_superseded(notice, task).await? => {
                    return Ok(Some(Went::accepted()));
                }
                Outcome::Applied(_) | Outcome::Ignored(_) => {}
                Outcome::Later(why) | Outcome::Parked(why) => return Ok(Some(Went::held(why))),
            }
        }
        // Before it is written: its echo may be here before the answer is.
        let (id, own, now) = (task.id, state.clone(), self.engine.now());
        let noted = self
            .marked(move |tx| tasks::will_write_state(tx, id, &own, now))
            .await?;
        if !noted.is_some_and(|noted| noted.is_won()) {
            return Ok(None);
        }
        let written = plane.set_state(&change, self.engine.now()).await;
        Ok(Some(match written {
            Ok(at) => Went {
                wrote: Some((state, at)),
                ..Went::accepted()
            },
            Err(e) => e.into(),
        }))
    }

    /// Applies what a person decided and no delivery has told yet. One that was applied is no event.
    async fn decide(&self, task: &Task, project: &str, issue: Issue) -> Result<Outcome, EngineError> {
        let sighting = Sighting {
            issue: task.external_id.clone(),
            project: Some(project.to_owned()),
            person: None,
            what: IssueChange::Stands(issue),
            changed: false,
            tries: 0,
            may_ask: true,
        };
        let (duty, token, now) = (self.duty.clone(), self.token, self.engine.now());
        let mark = move |tx: &mut Conn, _: &Outcome, _: Option<&Task>| match duty.held(tx, now)? {
            held if held == Some(token) => Ok(()),
            _ => Err(Abort::Lost),
        };
        match issues::apply(self.engine, &sighting, mark).await {
            Err(EngineError::Lost) => Ok(Outcome::Later("somebody was faster".to_owned())),
            applied => applied,
        }
    }
}

/// What a person asked for that the state would be written over.
async fn decided(
    plane: &Plane,
    (handle, project): (&ProjectHandle, &str),
    change: &StateChange,
    now: Timestamp,
) -> Result<Option<Issue>, PlaneError> {
    let Some(from) = change.from.as_deref() else {
        return Ok(None);
    };
    let name = plane.state_name(project, from, now).await?;
    let asks = |name: &String| handle.config.board.gesture(name).is_some();
    Ok(name.filter(asks).map(|name| Issue {
        state_id: change.from.clone(),
        state_name: Some(name),
        updated_at: change.at,
        ..Issue::default()
    }))
}

/// How the task stood, as the notice tells it.
fn standing(notice: &Notice) -> Option<(TaskStatus, StageName)> {
    let status = TaskStatus::parse(notice.text("status"))?;
    let stage = StageName::parse(notice.text("stage")).ok()?;
    Some((status, stage))
}

fn record(
    tx: &mut Conn,
    notice: &Notice,
    went: &Went,
    fate: &Fate,
    now: Timestamp,
) -> Result<(), StoreError> {
    if let (Some(task), Some((state, at))) = (notice.task_id, &went.wrote) {
        // Lost: what tells an echo changes again and again; the next one is told by its name alone.
        let _: Guarded<()> = tasks::wrote_state(tx, task, state, *at)?;
    }
    if let Some(at) = super::record(tx, notice.id, fate, now)?
        && went.everywhere
    {
        outbox::hold_back_tracker(tx, TrackerKind::Plane, at)?;
    }
    Ok(())
}
