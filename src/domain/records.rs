//! The ref on which Orch keeps what it writes about a task after the merge. Never says where it is.

use std::fmt;

use super::id::BranchName;

/// A full ref name, such as `refs/heads/orch-records`. Parsed once, at the edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefName(String);

impl RefName {
    /// Parses the name of a ref that records may be kept on: a branch, or a ref of their own.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wanted = "give a full ref such as \"refs/heads/orch-records\"";
        let Some((space, rest)) = text.strip_prefix("refs/").and_then(|t| t.split_once('/')) else {
            return Err(wanted.to_owned());
        };
        match space {
            "orch" => return Err(format!("refs/orch/ is Orch's own; {wanted}")),
            "tags" | "remotes" | "pull" => {
                return Err(format!("refs/{space}/ holds nothing that grows; {wanted}"));
            }
            _ => {}
        }
        // The rules for a part of a ref are those of a branch name.
        match (BranchName::parse(space), BranchName::parse(rest)) {
            (Ok(_), Ok(_)) => Ok(Self(text.to_owned())),
            _ => Err(format!("git does not take that name; {wanted}")),
        }
    }

    /// The ref of a branch.
    pub fn of_branch(branch: &BranchName) -> Self {
        Self(format!("refs/heads/{branch}"))
    }

    /// True for the ref of this branch.
    pub fn is_branch(&self, branch: &BranchName) -> bool {
        *self == Self::of_branch(branch)
    }

    /// The full name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_records_ref_is_a_branch_or_a_ref_of_its_own() {
        for good in ["refs/heads/orch-records", "refs/heads/a/b", "refs/records/shop"] {
            assert_eq!(RefName::parse(good).map(|r| r.to_string()), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "orch-records",
            "refs/heads",
            "refs/heads/",
            "refs/heads/a b",
            "refs/heads/a..b",
            "refs//a",
            "refs/orch/wip",
            "refs/tags/v1",
            "refs/pull/1/head",
            "refs/remotes/origin/main",
            "-refs/heads/a",
            "refs/heads/a\n",
        ] {
            assert!(RefName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
