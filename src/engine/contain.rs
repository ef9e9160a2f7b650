//! Keeps one unit that breaks or hangs from the loop that came to it. Never tries again, never hides: what broke is an error
//! of that unit alone, told like every other; what hangs is told once, and passed over until it ends.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt as _;

use crate::domain::id::JobId;
use crate::domain::time::Timestamp;

use super::{Engine, EngineError};

/// One of many that a healer does something about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    /// A job, whoever heals it.
    Job(JobId),
    /// Another thing, by its name.
    Named(String),
}

tokio::task_local! {
    /// Held by every blocking step that is begun for a unit, until it ends.
    static STEPS: Arc<()>;
}

/// Steps that hung past their limit.
#[derive(Debug, Default)]
pub(super) struct Hanging(Mutex<BTreeMap<Unit, Hung>>);

#[derive(Debug)]
struct Hung {
    since: Timestamp,
    steps: Weak<()>,
}

impl Hanging {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Unit, Hung>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Errors with `Hangs` while a step of the unit still runs.
    fn pass(&self, unit: &Unit, now: Timestamp) -> Result<(), EngineError> {
        let mut all = self.all();
        let Some(hung) = all.get(unit) else { return Ok(()) };
        if hung.steps.strong_count() > 0 {
            return Err(EngineError::Hangs);
        }
        let took = now.since(hung.since);
        slog_scope::info!("a step that hung has ended"; "of" => unit.to_string(), "after_s" => took.as_secs());
        all.remove(unit);
        Ok(())
    }

    /// What hangs now, and for how long.
    pub(super) fn now(&self, now: Timestamp) -> Vec<(String, Duration)> {
        let all = self.all();
        let hangs = all.iter().filter(|(_, hung)| hung.steps.strong_count() > 0);
        hangs
            .map(|(unit, hung)| (unit.to_string(), now.since(hung.since)))
            .collect()
    }
}

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Job(id) => write!(f, "job {id}"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// Does something about one of many within `reaper.step_limit_s`. What takes longer is left where it is, as if the service
/// had died there; blocking work of it cannot be ended, so the unit is passed over while that still runs.
///
/// # Errors
/// Its own; `Broken` where it panicked or took too long; `Hangs`, without a try, while what it began before still runs.
pub(super) fn limited<'a, T: 'a>(
    engine: &'a Engine,
    unit: Unit,
    step: impl Future<Output = Result<T, EngineError>> + 'a,
) -> impl Future<Output = Result<T, EngineError>> + 'a {
    let step = contained(step);
    async move {
        engine.hanging.pass(&unit, engine.now())?;
        let (since, limit) = (engine.now(), engine.settings().reaper.step_limit);
        let steps = Arc::new(());
        let timed = tokio::time::timeout(limit, STEPS.scope(steps.clone(), step));
        if let Ok(done) = timed.await {
            return done;
        }
        let hung = Hung {
            since,
            steps: Arc::downgrade(&steps),
        };
        engine.hanging.all().insert(unit, hung);
        Err(EngineError::Broken(format!(
            "it took longer than reaper.step_limit_s ({}): others go on, and it is passed over while what it waits for hangs",
            limit.as_secs()
        )))
    }
}

/// Runs blocking work (git, files) off the actors' thread.
pub(crate) async fn blocking<T, E, F>(work: F) -> Result<T, EngineError>
where
    T: Send + 'static,
    E: Into<EngineError> + Send + 'static,
    F: FnOnce() -> Result<T, E> + Send + 'static,
{
    let unit = STEPS.try_with(Arc::clone).ok();
    let work = move || {
        let _runs = unit;
        work()
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Into::into),
        Err(e) => Err(EngineError::Broken(format!("a blocking step ended early: {e}"))),
    }
}

/// Does something about one of many: a panic is its error, and no other's.
///
/// # Errors
/// Its own; `Broken` where it panicked.
pub(super) fn contained<T>(
    step: impl Future<Output = Result<T, EngineError>>,
) -> impl Future<Output = Result<T, EngineError>> {
    // Boxed before anybody waits: whoever loops over many holds no more than this.
    let step = AssertUnwindSafe(Box::pin(step)).catch_unwind();
    async move {
        step.await.unwrap_or_else(|panic| {
            let what = format!("it panicked ({}); the log says where", said(panic.as_ref()));
            Err(EngineError::Broken(what))
        })
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    let said = owned.or_else(|| panic.downcast_ref::<&str>().copied());
    said.unwrap_or("without a word")
}

impl super::Engine {
    /// What healers wait for in vain, and for how long.
    pub fn hanging(&self) -> Vec<(String, Duration)> {
        self.hanging.now(self.now())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::panic, reason = "it is what is tested")]

    use super::*;

    async fn breaks(step: impl Future<Output = Result<i32, EngineError>>) -> String {
        match contained(step).await {
            Err(EngineError::Broken(what)) => what,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_panics_is_an_error_that_says_its_words() {
        let number = 7;
        let formatted = breaks(async move { panic!("at {number}") }).await;
        assert_eq!(formatted, "it panicked (at 7); the log says where");
        assert!(breaks(async { panic!("plain") }).await.contains("(plain)"));
        let after_a_wait = breaks(async {
            tokio::task::yield_now().await;
            std::panic::panic_any(7)
        });
        assert!(after_a_wait.await.contains("without a word"));
    }

    #[tokio::test]
    async fn what_does_not_panic_is_handed_on() {
        assert_eq!(contained(async { Ok(7) }).await.ok(), Some(7));
        let lost = contained::<i32>(async { Err(EngineError::Lost) }).await;
        assert!(matches!(lost, Err(EngineError::Lost)), "{lost:?}");
    }
}
