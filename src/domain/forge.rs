//! What a forge says of commits and pull requests, and what that means for a gate. Never asks a forge.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::gate::Verdict;
use super::id::{BranchName, Sha};

/// How a candidate gets into main. It is on top of main in any case, so that main gets its tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MergeStyle {
    /// Main is moved to it, and nowhere else.
    #[default]
    FastForward,
    /// By a commit that has main and it as parents.
    Merge,
    /// As one commit.
    Squash,
    /// Its commits, which a forge may write anew. Without a forge the same as a fast-forward.
    Rebase,
}

impl MergeStyle {
    /// The words of configuration.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("fast-forward", Self::FastForward),
        ("merge", Self::Merge),
        ("squash", Self::Squash),
        ("rebase", Self::Rebase),
    ];

    /// Main gets a commit that nobody saw before.
    pub fn makes_commit(self) -> bool {
        match self {
            Self::FastForward | Self::Rebase => false,
            Self::Merge | Self::Squash => true,
        }
    }
}

/// A repository at a forge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryName {
    owner: String,
    name: String,
}

impl RepositoryName {
    /// Finds `owner/name` in where git finds the repository: an address below the forge's, or one for ssh.
    ///
    /// # Errors
    /// What would be right, in words.
    pub fn of(forge: &str, repo: &str) -> Result<Self, String> {
        let forge = forge.trim_end_matches('/');
        let wanted = || format!("give {forge}/<owner>/<repository>.git, or the same for ssh");
        let path = match repo.split_once("://") {
            Some(("http" | "https", _)) => {
                let below = repo.strip_prefix(forge).and_then(|rest| rest.strip_prefix('/'));
                below.ok_or_else(|| format!("is not below gitea.url: {}", wanted()))?
            }
            Some(("ssh" | "git+ssh" | "ssh+git", rest)) => {
                rest.split_once('/').map(|(_, path)| path).ok_or_else(wanted)?
            }
            Some(_) => return Err(wanted()),
            None => repo.split_once(':').map(|(_, path)| path).ok_or_else(wanted)?,
        };
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let plain = |part: &str| {
            let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
            (1..=100).contains(&part.len()) && part.bytes().all(known) && !part.bytes().all(|b| b == b'.')
        };
        match path.split_once('/') {
            Some((owner, name)) if plain(owner) && plain(name) => Ok(Self {
                owner: owner.to_owned(),
                name: name.to_owned(),
            }),
            Some(_) | None => Err(wanted()),
        }
    }
}

impl RepositoryName {
    /// Whether the forge calls it so; forges take names in any capitals.
    pub fn is(&self, full_name: &str) -> bool {
        full_name.split_once('/').is_some_and(|(owner, name)| {
            self.owner.eq_ignore_ascii_case(owner) && self.name.eq_ignore_ascii_case(name)
        })
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

/// What CI said of a commit, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitStatus {
    /// Grows with each.
    pub id: i64,
    /// Which of CI's checks it is about.
    pub context: String,
    /// pending, success, error, failure, warning or skipped.
    pub state: String,
}

/// Names in a reason, at most.
const NAMED: usize = 5;

/// What the statuses of a commit mean together: the last of each context counts. Computed here, because what a forge makes
/// of them differs between versions. As Gitea 1.24 does, a warning or a skipped check stands in nobody's way.
pub fn checks(statuses: &[CommitStatus]) -> Verdict {
    let mut latest: BTreeMap<&str, &CommitStatus> = BTreeMap::new();
    for status in statuses {
        let known = latest.entry(&status.context).or_insert(status);
        if status.id >= known.id {
            *known = status;
        }
    }
    let (mut failed, mut open, mut odd) = (Vec::new(), Vec::new(), Vec::new());
    for status in latest.values() {
        match status.state.as_str() {
            "success" | "warning" | "skipped" => {}
            "failure" | "error" => failed.push(status.context.as_str()),
            "pending" => open.push(status.context.as_str()),
            _ => odd.push(status.context.as_str()),
        }
    }
    if latest.is_empty() {
        Verdict::pending("CI has reported nothing for this commit yet")
    } else if !failed.is_empty() {
        Verdict::red(format!("CI failed: {}", named(&failed)))
    } else if !odd.is_empty() {
        let what = named(&odd);
        Verdict::unknown(format!("CI reported a state that is not known for {what}"))
    } else if !open.is_empty() {
        Verdict::pending(format!("CI still runs: {}", named(&open)))
    } else {
        Verdict::green(format!("CI passed ({} checks)", latest.len()))
    }
}

fn named(contexts: &[&str]) -> String {
    let shown = contexts
        .iter()
        .take(NAMED)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    match contexts.len().checked_sub(NAMED) {
        Some(more @ 1..) => format!("{shown} and {more} more"),
        Some(0) | None => shown,
    }
}

/// What a person said of a pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// Grows with each.
    pub id: i64,
    /// Who.
    pub by: String,
    /// APPROVED, REQUEST_CHANGES; others say nothing.
    pub state: String,
    /// Which commit it is about.
    pub commit: Option<Sha>,
    /// Taken back.
    pub dismissed: bool,
    /// The forge says that it is by somebody who may write. Older forges say so only of some.
    pub official: bool,
}

impl Review {
    /// Whether it says yes or no to this commit, if it counts.
    pub fn decides(&self, head: &Sha) -> bool {
        let said = matches!(&*self.state, "APPROVED" | "REQUEST_CHANGES");
        !self.dismissed && self.commit.as_ref() == Some(head) && said
    }
}

/// What the reviews of a pull request mean for its head: of each person the last word about that commit counts. Whoever may
/// not write is to be left out before.
pub fn reviews(reviews: &[Review], head: &Sha) -> Verdict {
    let mut said: Vec<&Review> = reviews.iter().filter(|r| r.decides(head)).collect();
    said.sort_by_key(|r| r.id);
    let last: BTreeMap<&str, &str> = said.iter().map(|r| (r.by.as_str(), r.state.as_str())).collect();
    let who = |state| {
        let of = last.iter().filter(|(_, said)| **said == state).map(|(by, _)| *by);
        of.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    let (against, with) = (who("REQUEST_CHANGES"), who("APPROVED"));
    if !against.is_empty() {
        Verdict::red(format!(
            "{} requested changes to {}",
            named(&against),
            head.short()
        ))
    } else if !with.is_empty() {
        Verdict::green(format!("{} approved by {}", head.short(), named(&with)))
    } else {
        let of = head.short();
        Verdict::pending(format!("waits for an approving review of {of} at the forge"))
    }
}

/// Where a pull request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullState {
    /// Waits to be merged.
    Open,
    /// Merged.
    Merged,
    /// Closed without a merge.
    Closed,
}

/// A pull request as the forge tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// Its number.
    pub number: i64,
    /// Where it stands.
    pub state: PullState,
    /// Its branch; none where that is in another repository.
    pub branch: Option<BranchName>,
    /// What it is to be merged into.
    pub base: String,
    /// Its branch's head, which goes on after a merge: it says nothing of what was merged.
    pub head: Option<Sha>,
    /// What it became in its base; none while it is not merged.
    pub merged: Option<Sha>,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_repository_is_known_by_owner_and_name_and_by_no_end_of_them() {
        let own = RepositoryName::of("https://git.example.org", "https://git.example.org/Team/app").unwrap();
        assert!(own.is("Team/app") && own.is("team/App"));
        for other in [
            "am/app",
            "team/ap",
            "other/app",
            "app",
            "",
            "/app",
            "team/app.git",
            "x/team/app",
        ] {
            assert!(!own.is(other), "{other}");
        }
    }

    #[test]
    fn owner_and_name_are_found_below_the_forge_and_nowhere_else() {
        let of = |repo: &str| RepositoryName::of("https://git.example.org/forge/", repo);
        for repo in [
            "https://git.example.org/forge/acme/shop.git",
            "https://git.example.org/forge/acme/shop/",
            "git@git.example.org:acme/shop.git",
            "ssh://git@git.example.org:2222/acme/shop",
        ] {
            assert_eq!(
                of(repo).map(|name| name.to_string()),
                Ok("acme/shop".into()),
                "{repo}"
            );
        }
        for repo in [
            "https://git.example.org/acme/shop.git",
            "https://git.example.org/forgery/acme/shop.git",
            "https://other.example.org/forge/acme/shop.git",
            "https://git.example.org/forge/shop.git",
            "https://git.example.org/forge/a/b/c",
            "https://git.example.org/forge/../shop",
            "git@git.example.org:shop.git",
            "/src/acme/shop",
        ] {
            assert!(of(repo).is_err(), "{repo}");
        }
        assert!(of("https://h/x/y").unwrap_err().contains("gitea.url"));
    }

    fn said(states: &[(&str, &str)]) -> String {
        let statuses: Vec<_> = states
            .iter()
            .zip(1..)
            .map(|((context, state), id)| CommitStatus {
                id,
                context: (*context).to_owned(),
                state: (*state).to_owned(),
            })
            .collect();
        let verdict = checks(&statuses);
        let mut turned = statuses;
        turned.reverse();
        assert_eq!(checks(&turned), verdict, "the order of a list says nothing");
        format!("{}: {}", verdict.state, verdict.reason)
    }

    #[test]
    fn the_last_word_of_each_check_counts_and_the_worst_of_them_decides() {
        let table: [(&[(&str, &str)], &str); 10] = [
            (&[], "pending: CI has reported nothing for this commit yet"),
            (&[("a", "pending")], "pending: CI still runs: a"),
            (&[("a", "success")], "green: CI passed (1 checks)"),
            (
                &[("a", "pending"), ("a", "success")],
                "green: CI passed (1 checks)",
            ),
            (&[("a", "success"), ("a", "pending")], "pending: CI still runs: a"),
            (
                &[("a", "failure"), ("a", "success")],
                "green: CI passed (1 checks)",
            ),
            (
                &[("a", "success"), ("b", "failure"), ("c", "pending")],
                "red: CI failed: b",
            ),
            (&[("a", "error"), ("b", "failure")], "red: CI failed: a, b"),
            (
                &[("a", "warning"), ("b", "skipped"), ("c", "success")],
                "green: CI passed (3 checks)",
            ),
            (
                &[("a", "success"), ("b", "new")],
                "unknown: CI reported a state that is not known for b",
            ),
        ];
        for (states, expected) in table {
            assert_eq!(said(states), expected);
        }
    }

    #[test]
    fn the_last_review_of_each_person_about_the_head_counts() {
        let sha = |c: &str| Sha::parse(&c.repeat(40)).unwrap();
        let (head, old) = (sha("a"), sha("b"));
        let review = |id, by: &str, state: &str, commit: &Sha| Review {
            id,
            by: by.to_owned(),
            state: state.to_owned(),
            commit: Some(commit.clone()),
            dismissed: false,
            official: true,
        };
        let said = |all: &[Review]| {
            let verdict = reviews(all, &head);
            format!("{}: {}", verdict.state, verdict.reason)
        };
        let (yes, no) = ("APPROVED", "REQUEST_CHANGES");
        let waits = "pending: waits for an approving review of aaaaaaaaaa at the forge";
        assert_eq!(said(&[]), waits);
        assert_eq!(said(&[review(1, "ada", "COMMENT", &head)]), waits);
        assert_eq!(said(&[review(1, "ada", yes, &old)]), waits);
        assert_eq!(said(&[review(1, "ada", no, &old)]), waits);
        let dismissed = Review {
            dismissed: true,
            ..review(1, "ada", yes, &head)
        };
        assert_eq!(said(&[dismissed]), waits);
        assert_eq!(
            said(&[review(1, "ada", yes, &head)]),
            "green: aaaaaaaaaa approved by ada"
        );
        let changed = [review(2, "ada", yes, &head), review(1, "ada", no, &head)];
        assert_eq!(said(&changed), "green: aaaaaaaaaa approved by ada");
        let split = [review(1, "ada", yes, &head), review(2, "bob", no, &head)];
        assert_eq!(said(&split), "red: bob requested changes to aaaaaaaaaa");
        let spoke = [review(1, "ada", no, &head), review(2, "ada", "COMMENT", &head)];
        assert_eq!(said(&spoke), "red: ada requested changes to aaaaaaaaaa");
    }
}
