//! How a project's work is brought to `main` and to production: CI, forge, tracker, merge gate, deploy.

use std::time::Duration;

use super::super::Settings;
use super::hook::{self, Hook};
use super::revision;
use super::table::{At, Table};
use super::{Ci, DeployBy, ForgeKind, ProjectDeploy, RevisionSource};
use crate::domain::forge::{MergeStyle, RepositoryName};
use crate::domain::id::ProjectName;
use crate::domain::pipeline::{GateKind, Pipeline, Role};
use crate::domain::task::TrackerKind;

/// Where the repository is.
pub(super) enum Place {
    /// A folder of this machine.
    Here,
    /// Behind a URL.
    Away,
}

/// Who says whether CI is green.
pub(super) fn ci(top: &Table<'_>, test_command: bool, forge: ForgeKind) -> Ci {
    let written = top.word(
        "ci",
        &[("none", Ci::None), ("tests", Ci::Tests), ("forge", Ci::Forge)],
    );
    if let Some(At { value, line }) = &written {
        match (value, forge) {
            (Ci::Tests, _) if !test_command => top.note(
                *line,
                "ci = \"tests\": there is no test_command to stand for CI; set one, or ci = \"none\"",
            ),
            (Ci::Forge, ForgeKind::Local) => top.note(
                *line,
                "ci = \"forge\": the local forge has no CI; set test_command and ci = \"tests\", or ci = \"none\"",
            ),
            (Ci::None | Ci::Tests, _) | (Ci::Forge, ForgeKind::Gitea) => {}
        }
    }
    written.map_or(
        match forge {
            ForgeKind::Local if test_command => Ci::Tests,
            ForgeKind::Local => Ci::None,
            ForgeKind::Gitea => Ci::Forge,
        },
        |at| at.value,
    )
}

/// The forge; without a word, the one that fits the repository's place.
pub(super) fn forge(top: &Table<'_>, repo: Option<&At<Place>>, settings: &Settings) -> ForgeKind {
    let written = top.word(
        "forge",
        &[("local", ForgeKind::Local), ("gitea", ForgeKind::Gitea)],
    );
    let line = written.as_ref().map_or_else(|| top.line_of("repo"), |at| at.line);
    let away = repo.is_some_and(|at| matches!(at.value, Place::Away));
    let by_place = if away { ForgeKind::Gitea } else { ForgeKind::Local };
    let forge = written.map_or(by_place, |at| at.value);
    match forge {
        ForgeKind::Local if away => top.note(
            line,
            "forge = \"local\" needs a repository on this machine: give its path, or set forge = \"gitea\"",
        ),
        ForgeKind::Local => {}
        ForgeKind::Gitea => {
            let missing = [
                ("gitea.url", settings.gitea.url.is_none()),
                ("gitea.token", settings.gitea.token.is_none()),
            ];
            need_settings(top, line, "forge = \"gitea\"", &missing);
        }
    }
    forge
}

/// The repository at Gitea, where that is the forge.
pub(super) fn forge_repository(
    top: &Table<'_>,
    (forge, repo): (ForgeKind, Option<&str>),
    settings: &Settings,
) -> Option<RepositoryName> {
    let (url, repo) = match forge {
        ForgeKind::Local => return None,
        // What is missing is noted already.
        ForgeKind::Gitea => (settings.gitea.url.as_ref()?, repo?),
    };
    let found = RepositoryName::of(url, repo);
    found
        .map_err(|why| {
            top.note(
                top.line_of("repo"),
                format!("repo, with forge = \"gitea\": {why}"),
            )
        })
        .ok()
}

/// The tracker.
pub(super) fn tracker(top: &Table<'_>, settings: &Settings) -> TrackerKind {
    let Some(at) = top.word(
        "tracker",
        &[("local", TrackerKind::Local), ("plane", TrackerKind::Plane)],
    ) else {
        return TrackerKind::Local;
    };
    if at.value == TrackerKind::Plane {
        let missing = [
            ("plane.url", settings.plane.url.is_none()),
            ("plane.api_token", settings.plane.api_token.is_none()),
            ("plane.workspace", settings.plane.workspace.is_none()),
        ];
        need_settings(top, at.line, "tracker = \"plane\"", &missing);
    }
    at.value
}

fn need_settings(top: &Table<'_>, line: usize, what: &str, missing: &[(&str, bool)]) {
    let missing: Vec<_> = missing.iter().filter(|(_, m)| *m).map(|(key, _)| *key).collect();
    if !missing.is_empty() {
        top.note(
            line,
            format!("{what} needs settings that are not set: {}", missing.join(", ")),
        );
    }
}

/// `[merge]`: the gate, within what `merge.gate_repos` covers (without tests nothing can be known of a candidate: it is off),
/// and how a candidate gets into main.
pub(super) fn merge(
    top: &Table<'_>,
    (name, repo): (&ProjectName, &str),
    tests: bool,
    settings: &Settings,
) -> (bool, MergeStyle) {
    let covered = settings.merge.covers(name, repo);
    let Some(section) = top.table("merge") else {
        let gate = settings.merge.gate_enabled && covered && tests;
        return (gate, MergeStyle::default());
    };
    let written = section.switch("gate");
    let style = section.word("style", &MergeStyle::WORDS);
    section.finish();
    if let Some(at) = written.as_ref().filter(|at| at.value && !covered) {
        let problem =
            "merge.gate = true, but the setting merge.gate_repos does not name this repository; add it there";
        section.note(at.line, problem);
    }
    if let Some(at) = written.as_ref().filter(|at| at.value && !tests) {
        let problem = "merge.gate = true, but there is no test_command to test a candidate with; set one";
        section.note(at.line, problem);
    }
    let written_off = written.as_ref().is_some_and(|at| !at.value);
    if let Some(at) = style.as_ref().filter(|_| written_off) {
        let problem = "merge.style is for merges by Orch, and with merge.gate = false a person merges; remove one of them";
        section.note(at.line, problem);
    }
    let gate = written.map_or(settings.merge.gate_enabled, |at| at.value) && covered && tests;
    (gate, style.map_or_else(MergeStyle::default, |at| at.value))
}

/// `[deploy]` as written.
pub(super) struct DeployDraft {
    approve: Option<At<bool>>,
    /// Who deploys.
    pub(super) by: DeployBy,
    /// With what.
    hook: Option<Hook>,
    /// Who says what production runs.
    revision: Option<RevisionSource>,
}

/// Reads `[deploy]`.
pub(super) fn deploy(top: &Table<'_>) -> DeployDraft {
    let Some(section) = top.table("deploy") else {
        return DeployDraft {
            approve: None,
            by: DeployBy::Merge,
            hook: None,
            revision: None,
        };
    };
    let by = section.word(
        "by",
        &[
            ("merge", DeployBy::Merge),
            ("agent", DeployBy::Agent),
            ("hook", DeployBy::Hook),
        ],
    );
    let hook = hook::hook(&section);
    let has_hook = section.has("hook");
    match &by {
        Some(at) if has_hook != (at.value == DeployBy::Hook) => {
            let problem = match has_hook {
                true => "deploy.hook is set, and deploy.by says that something else deploys; take by out",
                false => "deploy.by = \"hook\" needs the hook: set hook = [\"./deploy.sh\"]",
            };
            section.note(at.line, problem);
        }
        Some(_) | None => {}
    }
    let by_itself = if has_hook { DeployBy::Hook } else { DeployBy::Merge };
    let draft = DeployDraft {
        approve: section.switch("require_manual_approve"),
        by: by.map_or(by_itself, |at| at.value),
        hook,
        revision: revision::revision(&section),
    };
    section.finish();
    draft
}

impl DeployDraft {
    /// What the file or else the settings ask of a pipeline that says nothing itself.
    pub(super) fn wants_approval(&self, settings: &Settings) -> bool {
        self.approve
            .as_ref()
            .map_or(settings.deploy.require_manual_approve, |at| at.value)
    }

    /// A self-hosting project never deploys without Confirm Deploy.
    pub(super) fn refuse_unguarded(
        &self,
        top: &Table<'_>,
        self_hosting: Option<&At<bool>>,
        settings: &Settings,
    ) {
        let Some(at) = self_hosting.filter(|at| at.value && !self.wants_approval(settings)) else {
            return;
        };
        let (line, by) = match &self.approve {
            Some(approve) => (approve.line, "deploy.require_manual_approve = false here"),
            None => (at.line, "the setting deploy.require_manual_approve is false"),
        };
        let problem = format!(
            "self_hosting = true, but {by}: a self-hosting project is never deployed without Confirm Deploy; \
             set [deploy] require_manual_approve = true"
        );
        top.note(line, problem);
    }

    /// The same for stages that the file writes itself: `confirm = true` in one of them is what counts.
    pub(super) fn agree_with(
        &self,
        top: &Table<'_>,
        own: &At<&Pipeline>,
        (self_hosting, settings): (bool, &Settings),
    ) {
        let confirms = own.value.stages().iter().any(|s| s.confirm);
        match &self.approve {
            Some(At { value: true, line }) if !confirms => top.note(
                *line,
                "require_manual_approve = true, but no [[stage]] has confirm = true; set it in the stage that merges",
            ),
            Some(At { value: false, line }) if confirms => top.note(
                *line,
                "require_manual_approve = false, but a [[stage]] has confirm = true; keep one of them",
            ),
            Some(_) | None if self_hosting && !confirms => top.note(
                own.line,
                "self_hosting = true needs confirm = true in the [[stage]] that merges",
            ),
            Some(_) | None => {}
        }
        if self.by == DeployBy::Hook {
            self.agree_with_hook(top, own);
            let unsaid = self.approve.is_none() && settings.deploy.require_manual_approve;
            if unsaid && !confirms && !self_hosting {
                self.refuse_unwaived(top, own);
            }
        }
    }

    /// A hook reaches production: the gesture before it is left out only where somebody says so.
    fn refuse_unwaived(&self, top: &Table<'_>, own: &At<&Pipeline>) {
        let Some(merging) = own.value.stages().iter().find(|s| s.merges) else {
            return;
        };
        let problem = format!(
            "deploy.hook deploys, and nobody is asked before; set confirm = true in stage {:?}, which merges, or waive it with \
             [deploy] require_manual_approve = false",
            merging.name.as_str()
        );
        top.note(top.line_of("deploy"), problem);
    }

    /// The hook deploys, and a stage has to say what becomes of it.
    fn agree_with_hook(&self, top: &Table<'_>, own: &At<&Pipeline>) {
        let Some(merging) = own.value.stages().iter().find(|s| s.merges) else {
            return;
        };
        if merging.role == Some(Role::Deployer) {
            let problem = format!(
                "deploy.hook deploys, and stage {:?} has a deployer too; take role = \"deployer\" out, or the hook",
                merging.name.as_str()
            );
            top.note(own.line, problem);
        }
        if !merging.gates.iter().any(|g| g.kind == GateKind::DeployStatus) {
            let problem = format!(
                "deploy.hook deploys, and nothing looks at how it ended; add \"deploy_status\" to the gates of stage {:?}, which merges",
                merging.name.as_str()
            );
            top.note(own.line, problem);
        }
    }

    /// What the hook may take in the worst case, until it is gone.
    pub(super) fn hook_timeout(&self) -> Option<Duration> {
        self.hook.as_ref().map(|hook| hook.timeout)
    }

    /// The settled form: `confirm` is what the pipeline does.
    pub(super) fn settle(self, pipeline: &Pipeline) -> ProjectDeploy {
        ProjectDeploy {
            require_manual_approve: pipeline.stages().iter().any(|s| s.confirm),
            by: self.by,
            hook: self.hook,
            revision: self.revision,
        }
    }
}
