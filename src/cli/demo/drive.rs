//! Brings one task from start to end: watches what happens and makes a person's gestures where one is due.
//! Never judges the result.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;

use crate::domain::task::{Gesture, TaskStatus};
use crate::engine::views::{EventView, MakeGesture, TaskDetail};

use super::api::{Api, ApiError};
use super::faults::Faults;
use super::show::Show;
use super::timeline::Stages;

/// How long one look waits for something to happen.
const LOOK: Duration = Duration::from_secs(1);
/// How long the demo waits before it repeats a gesture that changed nothing.
const AGAIN: Duration = Duration::from_secs(1);
/// The name under which the demo makes gestures.
const PERSON: &str = "demo";

/// Why the task did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// It takes too long.
    #[error("the task was not done within {} s", .0.as_secs())]
    TooLong(Duration),
    /// Somebody or something parked it.
    #[error("the task is {status}: {reason}")]
    Parked {
        /// Its status.
        status: String,
        /// Why.
        reason: String,
    },
    /// A person is waited for where the demo knows no gesture.
    #[error("the task waits for a person in {stage}, and the demo does not know for what: {reason}")]
    Waiting {
        /// Where.
        stage: String,
        /// Why.
        reason: String,
    },
    /// The service shows a status that this program does not know.
    #[error("the service says that the task is {0:?}, which this version does not know")]
    Unknown(String),
    /// The service does not answer as it should.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A fault was not healed, or could not be provoked.
    #[error("{0:#}")]
    Fault(anyhow::Error),
}

/// What a person is asked: one entry into a stage, one candidate, one request.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Request {
    stage: String,
    since: String,
    candidate: Option<String>,
    reason: Option<String>,
}

/// Who answers at the human gates.
pub enum Person {
    /// The demo itself.
    Demo,
    /// Somebody at the keyboard, or with commands in another terminal.
    Real {
        /// What is typed here, when somebody can.
        typed: Option<UnboundedReceiver<String>>,
        /// The command line to use in another terminal, without its sub-command.
        command: String,
    },
}

/// One task under way.
pub struct Drive<'a> {
    /// The service.
    pub api: &'a Api,
    /// Where it is shown.
    pub show: &'a Show,
    /// When the demo began.
    pub began: Instant,
    /// How long all of it may take; none when a person is waited for.
    pub limit: Option<Duration>,
    /// Who answers.
    pub person: Person,
    /// What is done to the service and its agents on the way.
    pub faults: Option<Faults<'a>>,
    /// Time per stage.
    pub stages: Stages,
    /// The task's name.
    pub task: String,
    /// The task as it was seen last.
    pub latest: Option<TaskDetail>,
    seen: i64,
    asked: Option<(Request, Instant)>,
}

/// Whether there is more to come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    OnTheWay,
    Done,
}

/// What woke the loop.
enum Woken {
    Time,
    Typed(Option<String>),
}

impl<'a> Drive<'a> {
    /// Begins at the first event.
    pub fn new(api: &'a Api, show: &'a Show, began: Instant, task: String, person: Person) -> Self {
        Self {
            api,
            show,
            began,
            limit: None,
            person,
            faults: None,
            stages: Stages::default(),
            task,
            latest: None,
            seen: 0,
            asked: None,
        }
    }

    /// Goes on until the task is done.
    ///
    /// # Errors
    /// It will not be done, or not in time.
    pub async fn to_the_end(&mut self) -> Result<(), Stop> {
        loop {
            if let Woken::Typed(line) = self.look().await? {
                self.typed(line).await?;
            }
            let detail = self.api.task(&self.task).await?;
            self.latest = Some(detail.clone());
            if self.stands(&detail).await? == Standing::Done {
                return self.drain().await;
            }
            if let Some(faults) = &mut self.faults {
                faults.strike(&detail).await.map_err(Stop::Fault)?;
            }
            if let Some(limit) = self.limit
                && self.began.elapsed() >= limit
            {
                return Err(Stop::TooLong(limit));
            }
        }
    }

    /// Does what the task's standing asks for.
    async fn stands(&mut self, detail: &TaskDetail) -> Result<Standing, Stop> {
        match TaskStatus::parse(&detail.task.status) {
            Some(TaskStatus::Done) => return Ok(Standing::Done),
            Some(TaskStatus::Active) => self.nobody_is_asked(),
            Some(TaskStatus::WaitingHuman) => self.human_gate(detail).await?,
            Some(TaskStatus::NeedsInput | TaskStatus::Blocked | TaskStatus::Cancelled) => {
                self.drain().await?;
                let reason = detail.task.reason.clone();
                return Err(Stop::Parked {
                    status: detail.task.status.clone(),
                    reason: reason.unwrap_or_else(|| "no reason is given".into()),
                });
            }
            None => return Err(Stop::Unknown(detail.task.status.clone())),
        }
        Ok(Standing::OnTheWay)
    }

    /// Waits for something to happen, and shows it.
    async fn look(&mut self) -> Result<Woken, Stop> {
        let asking = self.asked.is_some();
        let events = match &mut self.person {
            Person::Real {
                typed: Some(lines), ..
            } if asking => tokio::select! {
                line = lines.recv() => return Ok(Woken::Typed(line)),
                events = self.api.events(self.seen, LOOK) => events?,
            },
            Person::Real { .. } | Person::Demo => self.api.events(self.seen, LOOK).await?,
        };
        self.take(&events);
        Ok(Woken::Time)
    }

    fn take(&mut self, events: &[EventView]) {
        for event in events {
            self.seen = self.seen.max(event.id);
            if event.task == self.task {
                let elapsed = self.began.elapsed();
                self.stages.see(elapsed, event);
                self.show.event(elapsed, event);
            }
        }
    }

    /// Shows what is left to show.
    async fn drain(&mut self) -> Result<(), Stop> {
        loop {
            let events = self.api.events(self.seen, Duration::ZERO).await?;
            if events.is_empty() {
                return Ok(());
            }
            self.take(&events);
        }
    }

    fn nobody_is_asked(&mut self) {
        if self.asked.take().is_some() {
            self.show.go_on(self.began.elapsed());
        }
    }

    async fn human_gate(&mut self, detail: &TaskDetail) -> Result<(), Stop> {
        let task = &detail.task;
        let Some(gesture) = gesture_due(detail) else {
            return Err(Stop::Waiting {
                stage: task.stage.clone(),
                reason: task.reason.clone().unwrap_or_default(),
            });
        };
        let request = Request {
            stage: task.stage.clone(),
            since: task.stage_entered_at.clone(),
            candidate: task.candidate.clone(),
            reason: task.reason.clone(),
        };
        let known = self.asked.as_ref().filter(|(r, _)| *r == request);
        let due = match (&self.person, known) {
            (Person::Demo | Person::Real { .. }, None) => true,
            (Person::Demo, Some((_, at))) => at.elapsed() >= AGAIN,
            (Person::Real { .. }, Some(_)) => false,
        };
        if !due {
            return Ok(());
        }
        let question = match &mut self.person {
            Person::Demo => None,
            Person::Real { typed, command } => {
                // What was typed before the question is no answer to it.
                while typed.as_mut().is_some_and(|t| t.try_recv().is_ok()) {}
                Some(question(detail, gesture, command, typed.is_some()))
            }
        };
        self.asked = Some((request, Instant::now()));
        match question {
            Some(text) => {
                self.show.question(self.began.elapsed(), &text);
                Ok(())
            }
            None => self.make(gesture, None).await,
        }
    }

    /// An answer that was typed here.
    async fn typed(&mut self, line: Option<String>) -> Result<(), Stop> {
        let Some(line) = line else {
            // The terminal was closed; commands in another one still work.
            if let Person::Real { typed, .. } = &mut self.person {
                *typed = None;
            }
            return Ok(());
        };
        let (word, comment) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let comment = Some(comment.trim().to_owned()).filter(|c| !c.is_empty());
        let detail = self.api.task(&self.task).await?;
        match (word.to_ascii_lowercase().as_str(), gesture_due(&detail)) {
            ("y" | "yes", Some(gesture)) => self.make(gesture, comment).await,
            ("n" | "no", Some(_)) => self.make(Gesture::Rejected, comment).await,
            (_, None) => Ok(()),
            (_, Some(_)) => {
                self.show
                    .question(self.began.elapsed(), "Type y, or n and what should be different.");
                Ok(())
            }
        }
    }

    async fn make(&mut self, gesture: Gesture, comment: Option<String>) -> Result<(), Stop> {
        let gesture = MakeGesture {
            gesture: gesture.as_str().to_owned(),
            person: Some(PERSON.to_owned()),
            comment,
            candidate: None,
        };
        let made = self.api.gesture(&self.task, &gesture).await?;
        if !made.applied {
            let text = format!("{} changed nothing: {}", gesture.gesture, made.effect);
            self.show.note(self.began.elapsed(), &text);
        }
        Ok(())
    }
}

/// The gesture that a waiting task waits for.
fn gesture_due(detail: &TaskDetail) -> Option<Gesture> {
    match detail.task.stage.as_str() {
        "analysis" => Some(Gesture::Approved),
        "deploy" => Some(Gesture::ConfirmDeploy),
        // The sample project has no other human gate.
        _ => None,
    }
}

fn question(detail: &TaskDetail, gesture: Gesture, command: &str, can_type: bool) -> String {
    let id = &detail.task.id;
    let reason = detail.task.reason.as_deref().unwrap_or("a person has to decide");
    let (yes, about) = match gesture {
        Gesture::Approved => (format!("task approve {id}"), "the analysis"),
        Gesture::ConfirmDeploy => (format!("task confirm-deploy {id}"), "the deploy"),
        Gesture::InProgress
        | Gesture::Rejected
        | Gesture::NeedsInput
        | Gesture::Blocked
        | Gesture::Cancelled => (format!("task show {id}"), "the task"),
    };
    let mut text = format!("\n{id} waits for you in {}: {reason}\n", detail.task.stage);
    text += &format!("Look at it, then decide about {about}; in another terminal:\n");
    for rest in [
        format!("task show {id}"),
        yes,
        format!("task reject {id} --comment 'what should be different'"),
    ] {
        text += &format!("  {command} {rest}\n");
    }
    if can_type {
        text += "or here: y, or n and what should be different.";
    }
    text.trim_end().to_owned()
}
