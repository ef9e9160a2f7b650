//! Production after a deploy: when it is looked at, whether a look was good, what the looks say together, and what is done
//! about it. Never looks, never writes.

mod look;
mod window;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::deploy::{DeployStatus, Outcome, Said, is};
use super::id::Sha;

pub use look::{BadPattern, Expect, Pattern};
pub use window::{Due, Judged, Plan, Probe, due, judge};

/// What watching came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Health {
    /// It works.
    Healthy,
    /// It does not.
    Degraded,
    /// Nobody knows.
    Inconclusive,
}

impl Health {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Healthy, Self::Degraded, Self::Inconclusive];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::Degraded => "DEGRADED",
            Self::Inconclusive => "INCONCLUSIVE",
        }
    }

    /// The inverse of [`Health::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|h| h.as_str() == text)
    }
}

/// What was done about it, or is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ActionTaken {
    /// Nothing had to be done.
    None,
    /// People were told.
    AlertOnly,
    /// The hook may be at work.
    RollingBack,
    /// Production runs what it ran before.
    RolledBack,
    /// The hook failed: production runs what was to be rolled back.
    RollbackFailed,
    /// Nobody knows what production runs: a person has to look.
    RollbackUnknown,
}

impl ActionTaken {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::AlertOnly,
        Self::RollingBack,
        Self::RolledBack,
        Self::RollbackFailed,
        Self::RollbackUnknown,
    ];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::AlertOnly => "ALERT_ONLY",
            Self::RollingBack => "ROLLING_BACK",
            Self::RolledBack => "ROLLED_BACK",
            Self::RollbackFailed => "ROLLBACK_FAILED",
            Self::RollbackUnknown => "ROLLBACK_UNKNOWN",
        }
    }

    /// The inverse of [`ActionTaken::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.as_str() == text)
    }
}

/// How production was right before the deploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// Every look was good.
    Good,
    /// One was not.
    Bad,
    /// Nobody looked.
    Unknown,
}

impl Baseline {
    /// Of the looks before the deploy.
    pub fn of(looks: &[Probe]) -> Self {
        match looks {
            [] => Self::Unknown,
            looks if looks.iter().all(|look| *look == Probe::Good) => Self::Good,
            _ => Self::Bad,
        }
    }
}

/// What a rollback depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The project wants it.
    pub enabled: bool,
    /// The project is Orch itself.
    pub self_hosting: bool,
    /// Production before the deploy.
    pub baseline: Baseline,
    /// Something else was deployed since, or is being deployed.
    pub newer: bool,
    /// What was done already.
    pub taken: Option<ActionTaken>,
}

/// What is to be done about a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// People are told; why nothing else is done.
    AlertOnly(&'static str),
    /// The version before is brought back.
    Rollback,
}

/// What is done about production as it was found.
pub fn action(health: Health, facts: &Facts) -> Action {
    match health {
        Health::Healthy | Health::Inconclusive => return Action::None,
        Health::Degraded => {}
    }
    let against = [
        (
            facts.self_hosting,
            "a self-hosting project is never rolled back by itself",
        ),
        (!facts.enabled, "auto_rollback is off"),
        (facts.taken.is_some(), "something was done about it already"),
        (facts.newer, "there is a newer deploy"),
        (
            facts.baseline == Baseline::Unknown,
            "nobody looked at production before the deploy",
        ),
        (
            facts.baseline == Baseline::Bad,
            "production was not healthy before the deploy",
        ),
    ];
    match against.into_iter().find(|(holds, _)| *holds) {
        Some((_, why)) => Action::AlertOnly(why),
        None => Action::Rollback,
    }
}

/// How a rollback ended: by what its hook said, else by what production runs. `live` is asked only where it matters.
pub fn rolled_back(
    said: &Said,
    live: Option<&Result<String, String>>,
    revision: &Sha,
    previous: Option<&str>,
) -> (ActionTaken, String) {
    let why = match said {
        Said::Settled(Outcome { status, why }) => {
            let taken = match status {
                DeployStatus::Succeeded => ActionTaken::RolledBack,
                DeployStatus::Failed => ActionTaken::RollbackFailed,
                DeployStatus::Open | DeployStatus::Unknown => ActionTaken::RollbackUnknown,
            };
            return (taken, why.clone());
        }
        Said::AskProduction(why) => why,
    };
    let (taken, found) = match live {
        Some(Ok(live)) if is(live, revision.as_str()) => (
            ActionTaken::RollbackFailed,
            format!("production still runs {live}"),
        ),
        Some(Ok(live)) if previous.is_some_and(|previous| is(live, previous)) => {
            (ActionTaken::RolledBack, format!("production runs {live} again"))
        }
        Some(Ok(live)) => (ActionTaken::RollbackUnknown, format!("production runs {live}")),
        Some(Err(e)) => (
            ActionTaken::RollbackUnknown,
            format!("production does not say what it runs: {e}"),
        ),
        None => (
            ActionTaken::RollbackUnknown,
            "and the project does not say how production is asked what it runs".to_owned(),
        ),
    };
    (taken, format!("{why}; {found}"))
}
