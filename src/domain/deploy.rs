//! How a deploy ended: by its hook's exit, or by what production runs. Never runs a hook, never asks production.

use serde::{Deserialize, Serialize};

use super::id::Sha;
use super::run::{ExitRecord, StopCause};

/// An attempt to deploy: what its hook is given as its attempt id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeployId(pub i64);

/// Where an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeployStatus {
    /// Its hook may be at work.
    Open,
    /// Production runs it.
    Succeeded,
    /// Production runs what it ran before.
    Failed,
    /// Nobody knows what production runs: a person has to look.
    Unknown,
}

impl DeployStatus {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Open, Self::Succeeded, Self::Failed, Self::Unknown];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// The inverse of [`DeployStatus::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

/// How an attempt ended, and why that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Never `Open`.
    pub status: DeployStatus,
    /// One line.
    pub why: String,
}

/// What a hook's end says by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Production runs the new version, or certainly the old one.
    Settled(Outcome),
    /// Production has to be asked.
    AskProduction(String),
}

/// Exit 0: deployed and healthy. 1, or a hook that could not be started: failed, and the old version serves. Whatever
/// else it was, only production knows. `text` is the exit in words.
pub fn said(exit: &ExitRecord, text: &str) -> Said {
    let settled = |status, why: String| Said::Settled(Outcome { status, why });
    match (&exit.cause, exit.code) {
        (Some(StopCause::NotStarted { why }), _) => settled(
            DeployStatus::Failed,
            format!("the hook could not be started: {why}"),
        ),
        (None, Some(0)) => settled(
            DeployStatus::Succeeded,
            "the hook ended with exit code 0".to_owned(),
        ),
        (None, Some(1)) => settled(DeployStatus::Failed, "the hook ended with exit code 1".to_owned()),
        (None, _) => Said::AskProduction(format!("the hook ended with {text}")),
        (
            Some(
                StopCause::Timeout { .. }
                | StopCause::Stall { .. }
                | StopCause::Startup { .. }
                | StopCause::Stopped
                | StopCause::LeaseExpired { .. },
            ),
            _,
        ) => Said::AskProduction(format!("the hook was ended: {text}")),
    }
}

/// Settles an attempt whose hook said nothing certain by the revision that production runs: the new one is a success,
/// the one before a failure, anything else has to be looked at by a person.
pub fn settle(why: &str, live: &Result<String, String>, revision: &Sha, previous: Option<&str>) -> Outcome {
    let (status, found) = match live {
        Ok(live) if is(live, revision.as_str()) => (
            DeployStatus::Succeeded,
            format!("production runs {}", revision.short()),
        ),
        Ok(live) if previous.is_some_and(|previous| is(live, previous)) => {
            (DeployStatus::Failed, format!("production still runs {live}"))
        }
        Ok(live) => {
            let before = match previous {
                Some(previous) => format!("ran {previous} before"),
                None => "was not asked what it ran before".to_owned(),
            };
            let found = format!(
                "production runs {live}, {before}, and was to run {}",
                revision.short()
            );
            (DeployStatus::Unknown, found)
        }
        Err(e) => (
            DeployStatus::Unknown,
            format!("production does not say what it runs: {e}"),
        ),
    };
    Outcome {
        status,
        why: format!("{why}; {found}"),
    }
}

/// The same revision, abbreviated on either side.
pub(super) fn is(one: &str, other: &str) -> bool {
    let shorter = one.len().min(other.len());
    shorter >= 7 && one.get(..shorter).is_some_and(|head| other.starts_with(head))
}

#[cfg(test)]
mod tests {
    use super::super::time::Timestamp;
    use super::*;

    fn exit(code: Option<i32>, cause: Option<StopCause>) -> ExitRecord {
        ExitRecord {
            code,
            signal: code.is_none().then_some(9),
            cause,
            finished_at: Timestamp(0),
            peak_memory_bytes: 0,
            cpu_us: 0,
            output_bytes: 0,
            dropped_bytes: 0,
            log_error: None,
            leftover_processes: 0,
        }
    }

    #[test]
    fn only_exits_0_and_1_and_a_hook_that_never_ran_settle_by_themselves() {
        let status = |code, cause| match said(&exit(code, cause), "…") {
            Said::Settled(outcome) => Some(outcome.status),
            Said::AskProduction(_) => None,
        };
        let never = StopCause::NotStarted {
            why: "no such file".into(),
        };
        assert_eq!(status(Some(0), None), Some(DeployStatus::Succeeded));
        assert_eq!(status(Some(1), None), Some(DeployStatus::Failed));
        assert_eq!(status(Some(127), Some(never)), Some(DeployStatus::Failed));
        for unclear in [Some(2), Some(3), Some(126), Some(127), Some(143), None] {
            assert_eq!(status(unclear, None), None, "{unclear:?}");
        }
        // What was ended from outside proves nothing, whatever code came of it.
        for code in [Some(0), Some(1), Some(143), None] {
            assert_eq!(status(code, Some(StopCause::Timeout { after_s: 900 })), None);
            assert_eq!(status(code, Some(StopCause::Stopped)), None);
        }
    }

    #[test]
    fn what_production_runs_settles_the_rest() {
        let new = Sha::trusted("a".repeat(40));
        let old = "b".repeat(40);
        let cases: [(Result<&str, &str>, Option<&str>, DeployStatus); 9] = [
            (Ok(new.as_str()), Some(&old), DeployStatus::Succeeded),
            (Ok("aaaaaaa"), Some(&old), DeployStatus::Succeeded),
            (Ok(new.as_str()), None, DeployStatus::Succeeded),
            (Ok(&old), Some(&old), DeployStatus::Failed),
            (Ok("bbbbbbbb"), Some(&old), DeployStatus::Failed),
            (Ok(&old), None, DeployStatus::Unknown),
            (Ok("cccccccc"), Some(&old), DeployStatus::Unknown),
            // Too short to name anything.
            (Ok("aaa"), Some(&old), DeployStatus::Unknown),
            (Err("connection refused"), Some(&old), DeployStatus::Unknown),
        ];
        for (live, previous, expected) in cases {
            let live = live.map(str::to_owned).map_err(str::to_owned);
            let outcome = settle("no exit was recorded", &live, &new, previous);
            assert_eq!(outcome.status, expected, "{live:?} {previous:?}: {}", outcome.why);
            assert!(
                outcome.why.starts_with("no exit was recorded; "),
                "{}",
                outcome.why
            );
        }
    }
}
