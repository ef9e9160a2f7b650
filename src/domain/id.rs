//! Identities. Names that come from outside are parsed once, at the edge; inside, nothing is validated twice.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A name from outside that cannot be used, and what would be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} is not usable: {rule}")]
pub struct InvalidName {
    /// What was being named: "work item id", "branch", "project name".
    pub what: &'static str,
    /// The offending text, capped.
    pub value: String,
    /// The rule it breaks, as an instruction.
    pub rule: &'static str,
}

impl InvalidName {
    fn new(what: &'static str, value: &str, rule: &'static str) -> Self {
        Self {
            what,
            value: value.chars().take(80).collect(),
            rule,
        }
    }
}

macro_rules! row_id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    )+};
}

row_id!(
    /// A project's row.
    ProjectId,
    /// A task's row.
    TaskId,
    /// A job's row.
    JobId,
    /// A run's row.
    RunId,
    /// Grows at every claim of a job; each later write about that claim carries it.
    ClaimEpoch,
    /// Grows when a monitor takes over a run from a dead one.
    MonitorEpoch,
    /// Grows with every change of a task's stage or status.
    TaskVersion,
    /// Grows each time a task enters a stage.
    Visit,
    /// Fencing token of a lease: grows at every takeover.
    FencingToken,
);

macro_rules! text_id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
            /// Takes text that Orch itself stored or produced.
            pub fn trusted(text: impl Into<String>) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

text_id!(
    /// A commit's full object name.
    Sha,
    /// A commit's tree without `docs/work-items/`: what verdicts and test evidence are bound to.
    CodeTree,
    /// What `git patch-id --stable` says of a candidate against its base.
    PatchId,
    /// A branch without `refs/heads/`.
    BranchName,
    /// The name by which people know a task: "ORCH-059".
    WorkItemId,
    /// A project's name: lower-case letters, digits and dashes.
    ProjectName,
    /// One boot of the service: a fresh UUID.
    InstanceId,
    /// A machine on which agents run.
    NodeName,
    /// A pipeline stage's name.
    StageName,
    /// Tasks that were submitted together.
    BatchId,
);

impl Sha {
    /// The first ten characters, for people.
    pub fn short(&self) -> &str {
        self.0.get(..10).unwrap_or(&self.0)
    }

    /// Parses a full object name: 40 or 64 lower-case hex digits.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let hex = text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if hex && (text.len() == 40 || text.len() == 64) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName::new(
                "commit",
                text,
                "give the full object name, 40 or 64 hex digits",
            ))
        }
    }
}

const NAME_RULE: &str = "use 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit, without '..' and not ending in '.' or '.lock'";

fn parse_name(what: &'static str, text: &str) -> Result<String, InvalidName> {
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if plain
        && first
        && text.len() <= 64
        && !text.contains("..")
        && !text.ends_with('.')
        && !text.ends_with(".lock")
    {
        Ok(text.to_owned())
    } else {
        Err(InvalidName::new(what, text, NAME_RULE))
    }
}

impl WorkItemId {
    /// Parses an id given from outside. It becomes a folder and part of a branch, so it is kept plain.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        parse_name("work item id", text).map(Self)
    }

    /// The name of a project's `n`-th task: three digits at least.
    pub fn numbered(prefix: &str, n: i64) -> Self {
        Self(format!("{prefix}-{n:03}"))
    }

    /// "SHOP-7" as Orch itself would write it: "SHOP-007". None when it is written so already.
    pub fn with_zeros(&self) -> Option<Self> {
        let (prefix, number) = self.0.rsplit_once('-')?;
        let plain = number.bytes().all(|b| b.is_ascii_digit()) && !number.starts_with('0');
        let number = number.parse().ok().filter(|_| plain)?;
        Some(Self::numbered(prefix, number)).filter(|full| full != self)
    }
}

impl StageName {
    /// Parses a stage's name from a project's configuration.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        parse_name("stage name", text).map(Self)
    }
}

impl NodeName {
    /// Parses a node's name.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        parse_name("node name", text).map(Self)
    }
}

impl BatchId {
    /// Parses a batch's name. It names a file.
    ///
    /// # Errors
    /// For what could lead elsewhere, or stand for an option.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        parse_name("batch", text).map(Self)
    }
}

impl ProjectName {
    /// Parses a project's name. It names folders and files.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        const RULE: &str = "use 1 to 40 lower-case letters, digits and dashes, beginning with a letter";
        let plain = text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        if plain && first && text.len() <= 40 {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName::new("project name", text, RULE))
        }
    }
}

impl BranchName {
    /// Parses a branch name by git's own rules (`git help check-ref-format`), and without a leading dash.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        const RULE: &str = "use a valid git branch name that does not begin with '-'";
        let bad_char =
            |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
        let bad_part = |p: &str| p.is_empty() || p.starts_with('.') || p.ends_with(".lock");
        let bad = text.is_empty()
            || text.len() > 200
            || text.starts_with('-')
            || text.ends_with('.')
            || text == "@"
            || text.contains("..")
            || text.contains("@{")
            || text.contains(bad_char)
            || text.split('/').any(bad_part);
        if bad {
            Err(InvalidName::new("branch", text, RULE))
        } else {
            Ok(Self(text.to_owned()))
        }
    }

    /// The branch of a task: `feature/<id>-<ascii slug, at most 30>`.
    pub fn for_task(id: &WorkItemId, title: &str) -> Self {
        let mut slug = String::new();
        for c in title.chars() {
            if c.is_ascii_alphanumeric() {
                slug.push(c.to_ascii_lowercase());
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
            if slug.len() == 30 {
                break;
            }
        }
        let slug = slug.trim_end_matches('-');
        if slug.is_empty() {
            Self(format!("feature/{id}"))
        } else {
            Self(format!("feature/{id}-{slug}"))
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_work_item_id_that_could_leave_its_folder_or_look_like_an_option_is_refused() {
        for bad in [
            "../x", "-rf", "a/b", "", "a..b", "a b", "x\n", "é", ".hidden", "x.lock", "a.",
        ] {
            assert!(WorkItemId::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(WorkItemId::parse("ORCH-059").is_ok());
    }

    #[test]
    fn a_number_without_its_zeros_is_understood() {
        let full = |text| WorkItemId::trusted(text).with_zeros().map(|id| id.to_string());
        assert_eq!(full("SHOP-7").as_deref(), Some("SHOP-007"));
        assert_eq!(full("A-B-12").as_deref(), Some("A-B-012"));
        for other in ["SHOP-007", "SHOP-1000", "SHOP-0", "SHOP-x", "SHOP", "SHOP-"] {
            assert_eq!(full(other), None, "{other}");
        }
    }

    #[test]
    fn a_task_branch_carries_an_ascii_slug_of_at_most_thirty() {
        let id = WorkItemId::trusted("ORCH-059");
        let branch = |title| BranchName::for_task(&id, title).to_string();
        assert_eq!(
            branch("Fix: the  café's door!"),
            "feature/ORCH-059-fix-the-caf-s-door"
        );
        assert_eq!(branch("日本語"), "feature/ORCH-059");
        assert_eq!(
            branch(&"long ".repeat(20)),
            "feature/ORCH-059-long-long-long-long-long-long"
        );
    }

    #[test]
    fn branch_names_follow_gits_rules() {
        for bad in [
            "-x", "a..b", "a b", "a~1", ".a", "a/.b", "a.lock", "a/", "/a", "@", "a@{b", "a\u{7f}",
        ] {
            assert!(BranchName::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(BranchName::parse("feature/ORCH-059-x").is_ok());
    }

    #[test]
    fn a_batch_cannot_be_named_so_that_it_leads_elsewhere() {
        for good in ["spring-cleaning", "2026.1", "a_b"] {
            assert_eq!(BatchId::parse(good).unwrap().as_str(), good);
        }
        let long = "x".repeat(65);
        let bad = [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "a\\b",
            "/etc",
            "-rf",
            "--all",
            "a..b",
            "a b",
            "a\nb",
            "a\0b",
            "a\u{1b}[2J",
            "a:b",
            "\u{202e}x",
            &long,
        ];
        for name in bad {
            assert!(BatchId::parse(name).is_err(), "{name:?}");
        }
    }
}
