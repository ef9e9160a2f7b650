//! The rules in force: those of the file, read again when it changes; where it is broken, the last good ones.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::domain::repair::{Rules, RulesError, SHIPPED};
use crate::domain::time::Timestamp;
use crate::engine::views::MatchedView;
use crate::engine::{Engine, EngineError, blocking};

/// Largest file of rules that is read, bytes.
const LARGEST: u64 = 1 << 20;

/// What is in force, and what was read last.
#[derive(Default)]
pub(in crate::engine) struct Loaded(Mutex<State>);

#[derive(Default)]
struct State {
    rules: Option<Arc<Rules>>,
    /// Time and size of the file as it was read last, good or not.
    seen: Option<(SystemTime, u64)>,
    /// What is wrong with it, while it is.
    broken: Option<String>,
    /// Since when the rules of the file are in force. None while those are that come with Orch.
    since: Option<Timestamp>,
    /// Failures that a rule matched since the start, and the last of them.
    matched: u64,
    last: Option<MatchedView>,
}

/// How the rules stand.
pub(super) struct Standing {
    /// Their file, or `built in`.
    pub source: String,
    /// See [`State`].
    pub since: Option<Timestamp>,
    pub problem: Option<String>,
    pub matched: u64,
    pub last: Option<MatchedView>,
}

/// What reading the rules again came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The file is as it was; with what is wrong with it, if something is.
    Unchanged(Option<String>),
    /// So many rules are in force now.
    Taken(usize),
    /// The file is broken: the rules that were in force stay.
    Refused(String),
}

impl Loaded {
    /// Counts a failure that a rule matched, once its answer is written.
    pub(in crate::engine) fn count(&self, matched: MatchedView) {
        let mut state = self.state();
        state.matched += 1;
        state.last = Some(matched);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rules in force.
pub fn rules_now(engine: &Engine) -> Arc<Rules> {
    let mut state = engine.rules.state();
    match &state.rules {
        Some(rules) => rules.clone(),
        None => {
            let rules = Arc::new(built_in());
            state.rules = Some(rules.clone());
            rules
        }
    }
}

/// What people are told of them.
pub(super) fn standing(engine: &Engine) -> Standing {
    let file = engine.settings().repair.rules_file.as_ref();
    let state = engine.rules.state();
    Standing {
        // A file that was never good has put nothing in the place of the shipped ones.
        source: match (state.since, file) {
            (Some(_), Some(path)) => path.display().to_string(),
            (_, _) => "built in".to_owned(),
        },
        since: state.since,
        problem: state.broken.clone(),
        matched: state.matched,
        last: state.last.clone(),
    }
}

/// Those that come with Orch; a test compiles them. Without any, what failed is tried again as it is.
fn built_in() -> Rules {
    Rules::parse(SHIPPED).unwrap_or_default()
}

/// Reads the file of rules if it changed since it was read last.
///
/// # Errors
/// None but a thread that ended early; what is wrong with the file is an answer.
pub async fn reload(engine: &Engine) -> Result<Reload, EngineError> {
    let Some(path) = engine.settings().repair.rules_file.clone() else {
        return Ok(Reload::Unchanged(None));
    };
    let seen = engine.rules.state().seen;
    let read = blocking(move || Ok::<_, EngineError>(read(&path, seen))).await?;
    let mut state = engine.rules.state();
    Ok(match read {
        Read::Same => Reload::Unchanged(state.broken.clone()),
        Read::New(stamp, Ok(rules)) => {
            let count = rules.strategies().len();
            state.rules = Some(Arc::new(rules));
            state.seen = Some(stamp);
            state.broken = None;
            state.since = Some(engine.now());
            Reload::Taken(count)
        }
        Read::New(stamp, Err(why)) => {
            state.seen = Some(stamp);
            state.broken = Some(why.clone());
            Reload::Refused(why)
        }
        Read::Absent(why) => {
            // Told once; when it is back it is read.
            state.seen = None;
            match state.broken.replace(why.clone()) {
                Some(before) if before == why => Reload::Unchanged(Some(why)),
                Some(_) | None => Reload::Refused(why),
            }
        }
    })
}

enum Read {
    Same,
    New((SystemTime, u64), Result<Rules, String>),
    Absent(String),
}

fn read(path: &Path, seen: Option<(SystemTime, u64)>) -> Read {
    let shown = path.display();
    let found = std::fs::metadata(path).and_then(|m| Ok((m.is_file(), (m.modified()?, m.len()))));
    let stamp = match found {
        Ok((true, stamp)) => stamp,
        // A pipe would keep its reader for ever, and a device has no end.
        Ok((false, _)) => return Read::Absent(format!("repair.rules_file {shown}: is no file")),
        Err(e) => return Read::Absent(format!("repair.rules_file {shown}: {e}")),
    };
    if seen == Some(stamp) {
        return Read::Same;
    }
    if stamp.1 > LARGEST {
        return Read::New(
            stamp,
            Err(format!("repair.rules_file {shown}: larger than {LARGEST} bytes")),
        );
    }
    let rules = match std::fs::read_to_string(path) {
        Ok(text) => Rules::parse(&text).map_err(|e: RulesError| format!("repair.rules_file {shown}: {e}")),
        Err(e) => Err(format!("repair.rules_file {shown}: {e}")),
    };
    Read::New(stamp, rules)
}
