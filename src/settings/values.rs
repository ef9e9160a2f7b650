//! The merged values, judged by the kind of their key: each is either usable or a problem.
//! Never compares one key with another.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use config::{Value, ValueKind};

use super::check::{A_YEAR, Checked, check, show_list, show_raw, show_text};
use super::keys::{KEYS, Key};
use super::layers::{FROM_FILE, Findings, ORIGIN_DEFAULT, at, merge};
use super::problem::{Problem, Warning};
use super::secret::Secret;

#[derive(Clone)]
struct Effective {
    value: Checked,
    origin: String,
    /// Not usable; the default stands in so that everything else can still be judged.
    broken: bool,
}

/// Every key's value and source, and what was found wrong so far.
pub(super) struct Values {
    effective: BTreeMap<&'static str, Effective>,
    found: RefCell<Findings>,
}

impl Values {
    /// Judges every key of the table.
    pub(super) fn judge(merged: &Value, cwd: &Path, mut found: Findings) -> Self {
        let defaults = merge(Vec::new());
        let mut effective = BTreeMap::new();
        for key in KEYS {
            let judged = judge_key(key, merged, cwd).unwrap_or_else(|problem| {
                found.problems.push(problem);
                None
            });
            let fallback = || {
                let value = at(defaults.as_ref().ok()?, key.name)?;
                check(key.kind, &value.kind).ok()
            };
            let stand_in = || {
                fallback().map(|value| Effective {
                    value,
                    origin: ORIGIN_DEFAULT.to_owned(),
                    broken: true,
                })
            };
            if let Some(value) = judged.or_else(stand_in) {
                effective.insert(key.name, value);
            }
        }
        let found = RefCell::new(found);
        Self { effective, found }
    }

    /// What was found, at the end.
    pub(super) fn into_findings(self) -> Findings {
        self.found.into_inner()
    }

    /// Notes a problem.
    pub(super) fn problem(&self, problem: Problem) {
        self.found.borrow_mut().problems.push(problem);
    }

    /// Notes something that is ignored.
    pub(super) fn warn(&self, name: &str, message: String) {
        let origin = self.origin(name);
        self.found.borrow_mut().warnings.push(Warning { origin, message });
    }

    /// Notes that a key's value cannot be used.
    pub(super) fn refuse(&self, name: &str, expected: impl Into<String>) {
        self.problem(Problem::BadValue {
            origin: self.origin(name),
            key: name.to_owned(),
            value: self.shown(name),
            expected: expected.into(),
        });
    }

    /// Notes that values cannot stand together, unless one of them is already refused.
    pub(super) fn refuse_together(&self, names: &[&str], why: impl Into<String>) {
        if names
            .iter()
            .any(|n| self.effective.get(n).is_none_or(|e| e.broken))
        {
            return;
        }
        let cited: Vec<_> = names
            .iter()
            .map(|n| format!("{n} = {} ({})", self.shown(n), self.origin(n)))
            .collect();
        self.problem(Problem::Combination(format!(
            "{}: {}",
            cited.join(", "),
            why.into()
        )));
    }

    /// Where a key's value was given.
    pub(super) fn origin(&self, name: &str) -> String {
        self.effective
            .get(name)
            .map_or_else(String::new, |e| e.origin.clone())
    }

    /// A key's value as people may see it.
    pub(super) fn shown(&self, name: &str) -> String {
        let (Some(key), Some(effective)) = (Key::find(name), self.effective.get(name)) else {
            return String::new();
        };
        match &effective.value {
            Checked::Switch(on) => on.to_string(),
            Checked::Whole(n) => n.to_string(),
            Checked::List(items) => show_list(items),
            Checked::Text(text) => show_text(key.kind, text),
        }
    }

    /// A switch.
    pub(super) fn switch(&self, name: &str) -> bool {
        match self.effective.get(name).map(|e| &e.value) {
            Some(Checked::Switch(on)) => *on,
            Some(Checked::Whole(_) | Checked::Text(_) | Checked::List(_)) | None => {
                self.not_a("switch", name)
            }
        }
    }

    /// A whole number, as whatever integer type its bounds fit.
    pub(super) fn whole<N: TryFrom<i64> + Default>(&self, name: &str) -> N {
        let number = match self.effective.get(name).map(|e| &e.value) {
            Some(Checked::Whole(n)) => N::try_from(*n).ok(),
            Some(Checked::Switch(_) | Checked::Text(_) | Checked::List(_)) | None => None,
        };
        number.unwrap_or_else(|| self.not_a("whole number of that size", name))
    }

    /// Seconds.
    pub(super) fn seconds(&self, name: &str) -> Duration {
        Duration::from_secs(self.whole(name))
    }

    /// A text; none when empty.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.effective.get(name).map(|e| &e.value) {
            Some(Checked::Text(text)) => Some(text.clone()).filter(|t| !t.is_empty()),
            Some(Checked::Switch(_) | Checked::Whole(_) | Checked::List(_)) | None => {
                self.not_a("text", name)
            }
        }
    }

    /// A text that must be there.
    pub(super) fn required(&self, name: &str) -> String {
        self.text(name).unwrap_or_else(|| {
            self.refuse(name, "must not be empty");
            String::new()
        })
    }

    /// A secret.
    pub(super) fn secret(&self, name: &str) -> Option<Secret> {
        self.text(name).map(Secret::new)
    }

    /// A list.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        match self.effective.get(name).map(|e| &e.value) {
            Some(Checked::List(items)) => items.clone(),
            Some(Checked::Switch(_) | Checked::Whole(_) | Checked::Text(_)) | None => {
                self.not_a("list", name)
            }
        }
    }

    /// The seconds in a JSON object, entry by entry; an entry that is no such number is ignored with a warning.
    pub(super) fn seconds_by_name(&self, name: &str) -> Vec<(String, Duration)> {
        let text = self.text(name).unwrap_or_default();
        let object: serde_json::Map<_, _> = serde_json::from_str(&text).unwrap_or_default();
        let mut entries = Vec::new();
        for (entry, value) in object {
            match value
                .as_u64()
                .filter(|s| i64::try_from(*s).is_ok_and(|s| s > 0 && s <= A_YEAR))
            {
                Some(s) => entries.push((entry, Duration::from_secs(s))),
                None => self.warn(
                    name,
                    format!("{name}: {entry:?} is ignored: {value} is not a whole number of seconds above 0"),
                ),
            }
        }
        entries
    }

    fn not_a<T: Default>(&self, kind: &str, name: &str) -> T {
        self.problem(Problem::Internal(format!("{name} is not a {kind}")));
        T::default()
    }
}

/// The key's value; none when it has none in any layer.
fn judge_key(key: &'static Key, merged: &Value, cwd: &Path) -> Result<Option<Effective>, Problem> {
    let Some(value) = at(merged, key.name) else {
        return Err(Problem::Internal(format!("{} has no default", key.name)));
    };
    let (kind, origin) = match at(value, FROM_FILE).filter(|_| key.may_stand_in_a_file()) {
        Some(path) => {
            let by = path.origin().unwrap_or_default();
            let text = read_secret(key, path, cwd)?;
            let by = by
                .strip_prefix("env ")
                .map_or_else(|| format!("{}_file ({by})", key.name), str::to_owned);
            (ValueKind::String(text), format!("file named by {by}"))
        }
        None => (value.kind.clone(), value.origin().unwrap_or_default().to_owned()),
    };
    match check(key.kind, &kind) {
        Ok(value) => Ok(Some(Effective {
            value,
            origin,
            broken: false,
        })),
        Err(expected) => Err(Problem::BadValue {
            origin,
            key: key.name.to_owned(),
            value: show_raw(key.kind, &kind),
            expected,
        }),
    }
}

fn read_secret(key: &Key, path: &Value, cwd: &Path) -> Result<String, Problem> {
    let fail = |why: String| Problem::SecretFile {
        origin: path.origin().unwrap_or_default().to_owned(),
        key: key.name.to_owned(),
        why,
    };
    let ValueKind::String(name) = &path.kind else {
        return Err(fail("give the path of a file as text".to_owned()));
    };
    let text = std::fs::read_to_string(cwd.join(name))
        .map_err(|e| fail(format!("cannot read the file {name:?} that should hold it: {e}")))?;
    match text.trim_end_matches(['\n', '\r']) {
        "" => Err(fail(format!("the file {name:?} that should hold it is empty"))),
        secret => Ok(secret.to_owned()),
    }
}
