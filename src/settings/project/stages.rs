//! `[[stage]]`: a project's own pipeline. What a pipeline may look like is the domain's to say; here each of
//! its objections gets a line, and gates that this project could never satisfy are refused.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use toml::de::DeValue;

use super::super::document::hint;
use super::agents::command;
use super::table::{At, Table};
use super::{Ci, DeployBy, ForgeKind, ProjectStaging};
use crate::domain::id::StageName;
use crate::domain::pipeline::{GATE_NAMES, GateKind, GateSpec, Pipeline, Role, Stage, StageDraft};

/// What the project has, on which its gates depend.
pub(super) struct Means {
    pub(super) ci: Ci,
    pub(super) test_command: bool,
    pub(super) forge: ForgeKind,
    pub(super) merge_gate: bool,
    pub(super) deploy_by: DeployBy,
    pub(super) staging: Option<Staging>,
    pub(super) times: Times,
}

/// What the project has of staging.
pub(super) struct Staging {
    /// What each of its commands may take.
    timeout: Duration,
    /// Something says what runs there.
    pub(super) revision: bool,
}

impl Staging {
    pub(super) fn of(staging: &ProjectStaging) -> Self {
        Self {
            timeout: staging.timeout,
            revision: staging.revision.is_some(),
        }
    }
}

/// How long what runs for a stage may take.
pub(super) struct Times {
    /// A run of each role.
    pub(super) agents: BTreeMap<Role, Duration>,
    /// The test command, and a command gate that says nothing.
    pub(super) check: Duration,
    /// Each of them, until it is gone.
    pub(super) kill_grace: Duration,
    /// All of them, before the reaper takes their job for stuck.
    pub(super) in_all: Duration,
}

impl Means {
    /// What the job of a stage may take in the worst case: its agent, then every check that its gates ask for.
    fn longest(&self, role: Option<Role>, gates: &[Result<GateSpec, String>]) -> Duration {
        let times = &self.times;
        let agent = role.and_then(|role| times.agents.get(&role).copied());
        // The same tests answer two gates.
        let mut tests = None;
        let mut checks = Vec::new();
        for gate in gates.iter().flatten() {
            match &gate.kind {
                GateKind::TestsLocal => tests = Some(times.check),
                GateKind::CiGreen if self.ci == Ci::Tests => tests = Some(times.check),
                GateKind::BranchMergeable => checks.push(times.check),
                GateKind::Command { timeout_s, .. } => checks.push(Duration::from_secs(*timeout_s)),
                GateKind::CiGreen
                | GateKind::AnalysisComplete
                | GateKind::HumanApproved
                | GateKind::ArchitectureDone
                | GateKind::ReviewApproved
                | GateKind::ReviewerVerdict
                | GateKind::TestsPassed
                | GateKind::DeployStatus => {}
                GateKind::StagingStatus => checks.extend(self.staging.iter().flat_map(|s| [s.timeout; 2])),
                GateKind::StagingImageFresh => checks.push(REVISION_PATIENCE),
            }
        }
        let all = agent.into_iter().chain(tests).chain(checks);
        all.map(|time| time + times.kill_grace).sum()
    }

    /// The same for the stage of the default pipeline that brings a candidate to staging. Without a gate of a pipeline of
    /// its own, `[staging]` is never looked at.
    pub(super) fn refuse_long_staging(
        &self,
        top: &Table<'_>,
        line: usize,
        own: Option<&At<Option<Pipeline>>>,
    ) {
        if let Some(At { value, .. }) = own {
            let gates = |p: &Pipeline| {
                p.stages()
                    .iter()
                    .any(|s| s.gates.iter().any(|g| g.kind == GateKind::StagingStatus))
            };
            if value.as_ref().is_some_and(|p| !gates(p)) {
                top.note(line, "[staging] is never used: no [[stage]] has the gate \"staging_status\"; add it, or remove the section");
            }
            return;
        }
        let named = ["branch_mergeable", "staging_status", "staging_image_fresh"];
        let gates: Vec<_> = named.into_iter().filter_map(GateSpec::named).map(Ok).collect();
        let longest = self.longest(None, &gates);
        if longest >= self.times.in_all {
            top.note(
                line,
                too_long("staging and its checks", longest, self.times.in_all),
            );
        }
    }
}

fn too_long(what: &str, longest: Duration, in_all: Duration) -> String {
    format!(
        "{what} may take {} s, and the reaper ends them after {}: lower a timeout_s, or raise reaper.max_running_s by {}",
        longest.as_secs(),
        in_all.as_secs(),
        (longest - in_all).as_secs() + 1
    )
}

/// What asking for a revision may take at most.
pub(super) const REVISION_PATIENCE: Duration = Duration::from_secs(60);

/// The pipeline written in the file, if one is; `None` inside when it is wrong, which is noted.
pub(super) fn pipeline(top: &Table<'_>, means: &Means) -> Option<At<Option<Pipeline>>> {
    let At { value: tables, line } = top.tables("stage")?;
    let deployer = Cell::new(false);
    let drafts: Vec<_> = tables
        .iter()
        .map(|table| draft(table, means, &deployer))
        .collect();
    let complete: Option<Vec<_>> = drafts.into_iter().collect();
    let value = complete.and_then(|drafts| {
        let line_of = |stage: usize| tables.get(stage).map_or(line, |t| t.line);
        let pipeline = Pipeline::validate(&drafts)
            .map_err(|e| top.note(line_of(e.stage), e.problem))
            .ok()?;
        let merging = pipeline.stages().iter().find(|s| s.merges);
        let at = |s: &Stage| drafts.iter().position(|d| d.name == s.name.as_str());
        if let Some((merging, at)) = merging.and_then(|s| Some((s, at(s)?))) {
            refuse_after_deploy(top, line_of(at), merging);
        }
        Some(pipeline)
    });
    Some(At { value, line })
}

/// After the deploy nothing is looked at that could change the candidate, or run for it: production has it.
fn refuse_after_deploy(top: &Table<'_>, line: usize, merging: &Stage) {
    let after = merging
        .gates
        .iter()
        .skip_while(|g| g.kind != GateKind::DeployStatus);
    let may_stand = |g: &&GateSpec| {
        matches!(
            g.kind,
            GateKind::DeployStatus | GateKind::HumanApproved | GateKind::Command { .. }
        )
    };
    for gate in after.filter(|g| !may_stand(g)) {
        let problem = format!(
            "gate {:?} stands after \"deploy_status\" in stage {:?}, where production has the candidate already; put it before \
             \"deploy_status\"",
            gate.name,
            merging.name.as_str()
        );
        top.note(line, problem);
    }
}

/// Each new try at staging would ask for Confirm Deploy again.
fn refuse_staging_with_confirm(table: &Table<'_>, draft: &StageDraft) {
    let staged = |g: &&GateSpec| matches!(g.kind, GateKind::StagingStatus | GateKind::StagingImageFresh);
    if !draft.confirm {
        return;
    }
    for gate in draft.gates.iter().flatten().filter(staged) {
        let problem = format!(
            "gate {:?} stands in a stage with confirm = true, and each new try at staging would ask for Confirm Deploy again; \
             put it in a stage before this one",
            gate.name
        );
        table.note(table.line, problem);
    }
}

/// A stage as written; none when its name or role is not usable.
fn draft(table: &Table<'_>, means: &Means, deployer: &Cell<bool>) -> Option<StageDraft> {
    let name = table.require("name", "give the stage a name", table.text("name"));
    let role = table
        .word("role", &Role::ALL.map(|r| (r.as_str(), r)))
        .map(|at| at.value);
    deployer.set(deployer.get() || role == Some(Role::Deployer));
    let mut gates: Vec<Result<GateSpec, String>> = Vec::new();
    for item in table.items("gates").unwrap_or_default() {
        let line = table.line_at(item);
        let Some(spec) = gate(table, line, item.get_ref(), means) else {
            continue;
        };
        if gates.iter().flatten().any(|g| g.name == spec.name) {
            table.note(line, format!("gate {:?} stands twice in this stage", spec.name));
        } else if let Some(lacking) = lacking(&spec.kind, means, deployer.get()) {
            table.note(
                line,
                format!("gate {:?} can never be green: {lacking}", spec.name),
            );
        } else {
            gates.push(Ok(spec));
        }
    }
    let longest = means.longest(role, &gates);
    if longest >= means.times.in_all {
        let problem = too_long(
            "the agent and the checks of this stage",
            longest,
            means.times.in_all,
        );
        table.note(table.line, problem);
    }
    let draft = StageDraft {
        role,
        gates,
        rollback_to: table.text("rollback_to").map(|at| at.value),
        merge: table.switch("merge").is_some_and(|at| at.value),
        confirm: table.switch("confirm").is_some_and(|at| at.value),
        next: table.text("next").map(|at| at.value),
        name: name.map(|at| at.value).unwrap_or_default(),
    };
    table.finish();
    refuse_staging_with_confirm(table, &draft);
    // Without its name or role, the pipeline's objections would be echoes of that mistake.
    let role_is_broken = draft.role.is_none() && table.has("role");
    (!draft.name.is_empty() && !role_is_broken).then_some(draft)
}

/// `"ci_green"` or `{ name = "secrets", command = […], timeout_s = 60 }`.
fn gate<'d>(stage: &Table<'d>, line: usize, item: &'d DeValue<'d>, means: &Means) -> Option<GateSpec> {
    if let Some(name) = item.as_str() {
        let known = GateSpec::named(name);
        if known.is_none() {
            let near = hint(name, GATE_NAMES);
            let all = GATE_NAMES.join(", ");
            stage.note(
                line,
                format!("unknown gate {name:?}{near} (known: {all}, or a table with name and command)"),
            );
        }
        return known;
    }
    let Some(entries) = item.as_table() else {
        stage.note(line, "a gate is a name, or a table with name and command");
        return None;
    };
    let table = stage.item("gate", line, entries);
    let name = table.require("name", "give the gate a name", table.text("name"));
    let argv = table.require(
        "command",
        "give program and arguments",
        command(&table, "command"),
    );
    let timeout_s = table
        .seconds("timeout_s")
        .map_or(means.times.check.as_secs(), |at| at.value.as_secs());
    table.finish();
    let name = name?.value;
    if GateKind::by_name(&name).is_some() {
        stage.note(
            line,
            format!("gate {name:?} is one of Orch's own: give the command another name"),
        );
        return None;
    }
    if let Err(e) = StageName::parse(&name) {
        // It names folders too.
        stage.note(line, format!("gate name {name:?} is not usable: {}", e.rule));
        return None;
    }
    let kind = GateKind::Command {
        argv: argv?,
        timeout_s,
    };
    Some(GateSpec { name, kind })
}

/// What the project lacks for a gate of this kind ever to be green.
fn lacking(kind: &GateKind, means: &Means, deployer: bool) -> Option<&'static str> {
    match kind {
        GateKind::TestsLocal | GateKind::BranchMergeable if !means.test_command => {
            Some("the project has no test_command; set one")
        }
        GateKind::CiGreen if means.ci == Ci::None => {
            Some("the project has no CI; set test_command, which then stands for it, or ci = \"forge\"")
        }
        GateKind::ReviewApproved if means.forge == ForgeKind::Local => {
            Some("the local forge has no reviews; use \"reviewer_verdict\" or \"human_approved\"")
        }
        GateKind::BranchMergeable if !means.merge_gate => {
            Some("the merge gate is off for this project; set [merge] gate = true or remove it")
        }
        GateKind::StagingStatus | GateKind::StagingImageFresh if means.staging.is_none() => {
            Some("the project has no [staging]; write that section, or remove the gate")
        }
        GateKind::StagingImageFresh if means.staging.as_ref().is_some_and(|s| !s.revision) => {
            Some("nothing says what staging runs; set revision_command or revision_url in [staging]")
        }
        GateKind::DeployStatus if means.deploy_by == DeployBy::Merge && !deployer => Some(
            "nobody writes a deploy log; set [deploy] hook or by = \"agent\", or give a stage the role \"deployer\"",
        ),
        GateKind::AnalysisComplete
        | GateKind::HumanApproved
        | GateKind::ArchitectureDone
        | GateKind::CiGreen
        | GateKind::TestsLocal
        | GateKind::ReviewApproved
        | GateKind::ReviewerVerdict
        | GateKind::TestsPassed
        | GateKind::BranchMergeable
        | GateKind::StagingStatus
        | GateKind::StagingImageFresh
        | GateKind::DeployStatus
        | GateKind::Command { .. } => None,
    }
}
