//! Reads all that gates may look at, at the forge too, and asks them. Writes nothing, runs nothing: safe at any time.

use std::collections::BTreeMap;

use crate::domain::gate::Verdict;
use crate::domain::id::{BranchName, CodeTree, PatchId, RunId, Sha};
use crate::domain::pipeline::{GateKind, GateSpec, Stage};
use crate::domain::task::Task;
use crate::domain::walk::{Answer, gates_to_ask};
use crate::gates::{self, Artifacts, Asked, Candidate, Snapshot};
use crate::git::{GitError, Objects, Relation, Repository};
use crate::settings::project::{Ci, ProjectStaging};
use crate::store::evidence::NewEvidence;

mod known;

use self::known::{deployed, fresh, known};
use super::{Engine, EngineError, ProjectHandle, blocking, revision};

/// The candidate as it was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Branch head.
    pub head: Sha,
    /// Its tree without artifacts.
    pub code_tree: CodeTree,
    /// Its patch against `main`.
    pub patch_id: Option<PatchId>,
}

/// What the gates of a stage answered.
#[derive(Clone, Debug)]
pub struct Looked {
    /// Who was judged.
    pub judged: Judged,
    /// The answers in order, up to the first that is not green.
    pub asked: Vec<Asked>,
    /// Answers that were not known before.
    pub fresh: Vec<NewEvidence>,
    /// The candidate was merged during this visit.
    pub merged: bool,
    /// Tip of `main` when it was looked at.
    pub main: Sha,
    /// Visits in which staging was found not to run this code, since a person let the task go on.
    pub stale: i64,
}

impl Looked {
    /// The last gate needed something run, and it could not be: nobody knows, so it is asked again later.
    pub(super) fn could_not_be_asked(mut self, why: String) -> Self {
        if let Some(last) = self.asked.last_mut() {
            last.answer.verdict = Verdict::unknown(why);
            last.needs = None;
        }
        self
    }

    /// The answers alone.
    pub fn answers(&self) -> Vec<Answer> {
        self.asked.iter().map(|a| a.answer.clone()).collect()
    }
}

/// Which gates to ask about which head.
#[derive(Clone, Debug)]
pub struct Question {
    /// The branch head; `None` asks the forge for it.
    pub head: Option<Sha>,
    /// Instead of the stage's own gates.
    pub gates: Option<Vec<GateSpec>>,
    /// The run that asks, if one does.
    pub run: Option<RunId>,
    /// Red answers of programs up to this one (by id) do not count: what made them red (a full disk, a tool that was missing)
    /// may have been mended since.
    pub anew: Option<i64>,
}

/// Key of the intent that records the merge of this visit.
pub fn merge_key(task: &Task) -> String {
    format!("merge:{}:{}", task.id, task.visit)
}

/// Key of the intent that records a person's Confirm Deploy of this candidate in this visit.
pub fn confirm_key(task: &Task, candidate: &Sha) -> String {
    format!("confirm:{}:{}:{candidate}", task.id, task.visit)
}

/// Asks the gates of `stage` about the task's candidate.
///
/// # Errors
/// git's and the database's; `Conflict` when the branch does not exist at the forge.
pub async fn look(
    engine: &Engine,
    project: &std::sync::Arc<ProjectHandle>,
    task: &Task,
    stage: &Stage,
    question: &Question,
) -> Result<Looked, EngineError> {
    let known = {
        let (task, role, anew) = (task.clone(), stage.role, question.anew);
        engine
            .store()
            .read(move |tx| known(tx, &task, role, anew))
            .await?
    };
    let gates: Vec<GateSpec> = match &question.gates {
        Some(gates) => gates.clone(),
        None => gates_to_ask(stage, known.merged).to_vec(),
    };
    let seen = {
        let (handle, task, head, gates) = (
            project.clone(),
            task.clone(),
            question.head.clone(),
            gates.clone(),
        );
        blocking(move || see(&handle, &task, head, &gates)).await?
    };
    let (checks, reviews) = at_forge(engine, (project, task), &gates, (known.pull, &seen.candidate)).await;
    let snapshot = Snapshot {
        pipeline: &project.config.pipeline,
        stage,
        visit: task.visit,
        candidate: seen.candidate,
        artifacts: seen.artifacts,
        evidence: known.evidence,
        approved_by: known.approved_by,
        run: known.run,
        test_command: project.config.test_command.clone(),
        staging: project.config.staging.as_ref().map(ProjectStaging::line),
        revision: revision::source_of(project),
        no_ci: project.config.ci == Ci::None,
        checks,
        reviews,
        deploy: project
            .config
            .deploy
            .hook
            .as_ref()
            .map(|_| deployed(known.deploy)),
    };
    let asked = gates::ask(&gates.iter().collect::<Vec<_>>(), &snapshot);
    let candidate = &snapshot.candidate;
    let judged = Judged {
        head: candidate.head.clone(),
        code_tree: candidate.code_tree.clone(),
        patch_id: candidate.patch_id.clone(),
    };
    let fresh = fresh(&asked, &snapshot.evidence, &judged, task, question.run);
    let stale = revision::stale(engine, task, &asked, &judged.code_tree).await?;
    Ok(Looked {
        judged,
        asked,
        fresh,
        merged: known.merged,
        main: snapshot.candidate.main,
        stale,
    })
}

/// What CI and what people say of the candidate at the forge, where a gate will look at it.
async fn at_forge(
    engine: &Engine,
    (project, task): (&ProjectHandle, &Task),
    gates: &[GateSpec],
    (pull, candidate): (Option<i64>, &Candidate),
) -> (Option<Verdict>, Option<Verdict>) {
    let asked = |kind: &GateKind| gates.iter().any(|gate| gate.kind == *kind);
    let (now, head) = (engine.now(), &candidate.head);
    // Without a change of code there is nothing to ask about.
    let differs = candidate.code_tree != candidate.main_tree;
    let checks = match asked(&GateKind::CiGreen) && project.config.ci == Ci::Forge && differs {
        true => project.forge.checks(head, now).await,
        false => None,
    };
    let reviews = match asked(&GateKind::ReviewApproved) {
        true => {
            let branches = (&task.branch, &project.config.main);
            project.forge.reviews(branches, head, pull, now).await
        }
        false => None,
    };
    (checks, reviews)
}

struct Seen {
    candidate: Candidate,
    artifacts: Artifacts,
}

fn see(
    project: &ProjectHandle,
    task: &Task,
    head: Option<Sha>,
    gates: &[GateSpec],
) -> Result<Seen, EngineError> {
    let repo = project.repository()?;
    let main = &project.config.main;
    let (head, tip) = match head {
        Some(head) => (head, tip(&repo, main)?),
        None => heads(&repo, &task.branch, main)?,
    };
    let mut objects = repo.objects()?;
    let (code_tree, main_tree) = (objects.code_tree(&head)?, objects.code_tree(&tip)?);
    let patch = gates.iter().any(|g| {
        matches!(
            g.kind,
            GateKind::ReviewerVerdict
                | GateKind::TestsPassed
                | GateKind::BranchMergeable
                | GateKind::DeployStatus
        )
    });
    let candidate = Candidate {
        behind: gates.iter().any(|g| g.kind == GateKind::BranchMergeable) && !contains(&repo, &head, &tip)?,
        patch_id: if patch { repo.patch_id(&tip, &head)? } else { None },
        code_tree,
        main_tree,
        main: tip,
        head,
    };
    let artifacts = match gates.iter().any(|g| reads_artifacts(&g.kind)) {
        true => read_artifacts(&mut objects, &candidate.head, &artifacts_dir(task))?,
        false => Artifacts::new(),
    };
    Ok(Seen { candidate, artifacts })
}

fn reads_artifacts(kind: &GateKind) -> bool {
    match kind {
        GateKind::AnalysisComplete
        | GateKind::ArchitectureDone
        | GateKind::ReviewerVerdict
        | GateKind::TestsPassed
        | GateKind::StagingStatus
        | GateKind::DeployStatus => true,
        GateKind::HumanApproved
        | GateKind::CiGreen
        | GateKind::TestsLocal
        | GateKind::ReviewApproved
        | GateKind::BranchMergeable
        | GateKind::StagingImageFresh
        | GateKind::Command { .. } => false,
    }
}

/// What a program that works for a task, or checks its work, is told in its environment.
pub(super) fn about(project: &ProjectHandle, task: &Task) -> BTreeMap<String, String> {
    let config = &project.config;
    let words = [
        ("ORCH_PROJECT", config.name.to_string()),
        ("ORCH_WORK_ITEM", task.work_item_id.to_string()),
        ("ORCH_ARTIFACTS_DIR", artifacts_dir(task)),
        ("ORCH_BRANCH", task.branch.to_string()),
        // As it is called in a worktree of the clone, which has no branches of its own.
        ("ORCH_MAIN", format!("origin/{}", config.main)),
    ];
    words.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}

/// Where a task's artifacts are, from the root of its repository.
pub fn artifacts_dir(task: &Task) -> String {
    format!("docs/work-items/{}", task.work_item_id)
}

/// The heads of a task's branch and of `main` at the forge now, with their commits here.
pub(super) fn heads(
    repo: &Repository,
    branch: &BranchName,
    main: &BranchName,
) -> Result<(Sha, Sha), EngineError> {
    let heads = repo.bring(&[branch, main])?;
    let head = |name| heads.get(name).cloned().ok_or_else(|| gone(name));
    Ok((head(branch)?, head(main)?))
}

/// The head of one branch at the forge now, with its commits here.
pub(super) fn tip(repo: &Repository, branch: &BranchName) -> Result<Sha, EngineError> {
    let heads = repo.bring(&[branch])?;
    heads.get(branch).cloned().ok_or_else(|| gone(branch))
}

fn gone(branch: &BranchName) -> EngineError {
    EngineError::Conflict {
        what: format!("branch {branch} is not in the project's repository: push it back, or cancel the task"),
    }
}

/// True when `commit` is an ancestor of `branch` or the same.
pub(super) fn contains(repo: &Repository, branch: &Sha, commit: &Sha) -> Result<bool, GitError> {
    repo.ensure_commits(&[branch, commit])?;
    Ok(matches!(
        repo.ancestry(commit, branch)?,
        Relation::Same | Relation::Ahead
    ))
}

/// The artifacts at a commit, one folder deep (`06-adr/`).
fn read_artifacts(objects: &mut Objects, head: &Sha, dir: &str) -> Result<Artifacts, EngineError> {
    let mut artifacts = Artifacts::new();
    for folder in ["", "06-adr/"] {
        for entry in objects.list_dir(head, &format!("{dir}/{folder}"))? {
            let name = format!("{folder}{}", entry.name);
            let content = match objects.read_blob(head, &format!("{dir}/{name}")) {
                Ok(Some(content)) => Ok(content),
                Ok(None) => continue,
                Err(e @ GitError::TooLarge { .. }) => Err(e.to_string()),
                Err(e) => return Err(e.into()),
            };
            artifacts.insert(name, content);
        }
    }
    Ok(artifacts)
}
