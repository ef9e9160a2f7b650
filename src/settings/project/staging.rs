//! `[staging]`: how a candidate is deployed to staging, checked there, and known to be what runs there; and where records go
//! after the merge. Never runs anything.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::Settings;
use super::revision::{RevisionSource, revision};
use super::table::{At, Table};
use crate::domain::id::BranchName;
use crate::domain::records::RefName;

/// What each of the two commands may take where the file says nothing.
const TIMEOUT: Duration = Duration::from_secs(900);

/// How a project is deployed to staging and checked there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectStaging {
    /// Run by `sh -c` in a clean worktree of the candidate; `ORCH_REVISION` says which commit it is.
    pub deploy_command: String,
    /// Run by `sh -c` after it, in a clean worktree of the same commit: prints its report as JSON lines.
    pub check_command: String,
    /// What each of the two may take.
    pub timeout: Duration,
    /// Checks of the infrastructure that may fail where that is borne.
    pub infra_allowed: BTreeSet<String>,
    /// Failures of allow-listed infrastructure checks are borne.
    pub tolerate_infra: bool,
    /// Checks that have to be in the report.
    pub required: BTreeSet<String>,
    /// Who says what staging runs.
    pub revision: Option<RevisionSource>,
}

impl ProjectStaging {
    /// Both commands in one text: what was proved by others is proved no longer.
    pub fn line(&self) -> String {
        format!("{}\n{}", self.deploy_command, self.check_command)
    }
}

/// Reads `[staging]`, if it is there; `None` inside when it is wrong, which is noted.
pub(super) fn staging(top: &Table<'_>, settings: &Settings) -> Option<At<Option<ProjectStaging>>> {
    let section = top.table("staging")?;
    let deploy = section.require(
        "deploy_command",
        "give the command that deploys ORCH_REVISION to staging",
        section.text("deploy_command"),
    );
    let check = section.require(
        "check_command",
        "give the command that checks staging and prints its report",
        section.text("check_command"),
    );
    let timeout = section.seconds("timeout_s").map_or(TIMEOUT, |at| at.value);
    let infra_allowed = names(&section, "infra_allowed");
    let tolerated = section.switch("tolerate_infra");
    if let Some(at) = tolerated
        .as_ref()
        .filter(|at| at.value && infra_allowed.is_empty())
    {
        let problem = "tolerate_infra = true, but infra_allowed names no check that may fail; name them";
        section.note(at.line, problem);
    }
    let required = names(&section, "required");
    let revision = revision(&section);
    section.finish();
    let value = deploy.zip(check).map(|(deploy, check)| ProjectStaging {
        deploy_command: deploy.value,
        check_command: check.value,
        timeout,
        infra_allowed,
        tolerate_infra: tolerated.map_or(settings.staging.infra_tolerance_enabled, |at| at.value),
        required,
        revision,
    });
    Some(At {
        value,
        line: section.line,
    })
}

fn names(section: &Table<'_>, key: &'static str) -> BTreeSet<String> {
    let Some(At { value, line }) = section.texts(key) else {
        return BTreeSet::new();
    };
    if value.iter().any(|name| name.trim().is_empty()) {
        section.note(line, format!("staging.{key}: the name of a check is not empty"));
    }
    value.into_iter().collect()
}

/// `records_ref`: where Orch writes about a task after its merge.
pub(super) fn records_ref(top: &Table<'_>, main: Option<&At<BranchName>>) -> Option<RefName> {
    let At { value, line } = top.parsed("records_ref", RefName::parse)?;
    let default = BranchName::trusted("main");
    let main = main.map_or(&default, |at| &at.value);
    if value.is_branch(main) {
        let problem = format!(
            "records_ref = \"{value}\" is the main branch, which receives nothing but merges; \
             give another one, such as \"refs/heads/orch-records\""
        );
        top.note(line, problem);
        return None;
    }
    Some(value)
}
