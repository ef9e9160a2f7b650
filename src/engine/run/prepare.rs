//! Makes what a run needs: worktree, request, prompt. Can be repeated: everything is made anew.

use std::path::Path;

use crate::agents::prompt::{self, PromptContext};
use crate::domain::evidence_packet::EvidencePacket;
use crate::domain::id::{CodeTree, Sha};
use crate::domain::pipeline::Role;
use crate::domain::run::RunStep;
use crate::store::runs::RunPatch;

use super::super::look::artifacts_dir;
use super::super::{Engine, EngineError, ProjectHandle, blocking};
use super::{Attempt, Step};

pub(super) const PROMPT_FILE: &str = "prompt.md";
const REQUEST: &str = "00-business-request.md";

pub(super) async fn prepare(engine: &Engine, a: &mut Attempt) -> Result<Step, EngineError> {
    // Whoever was superseded must not clear a worktree in which an agent works by now.
    a.check_hold(engine).await?;
    let role = role(a)?;
    let text = render(a, role)?;
    let (project, task) = (a.project.clone(), a.task.clone());
    let (worktree, run_dir) = (a.worktree(engine), a.run_dir(engine));
    // Goes on to its end when the job is taken away meanwhile: whoever cleans up waits for it.
    let alone = engine.tidying(a.claim).await;
    let (start_sha, start_tree) = blocking(move || {
        let _alone = alone;
        write(&run_dir, PROMPT_FILE, text.as_bytes())?;
        let (sha, tree) = check_out(&project, &task, &worktree)?;
        let dir = worktree.join(artifacts_dir(&task));
        no_link_on(&worktree, &artifacts_dir(&task))?;
        if !dir.join(REQUEST).exists() {
            let request = prompt::business_request(&task.title, &task.description);
            write(&dir, REQUEST, request.as_bytes())?;
        }
        // A verdict is given anew in each run: one that stands from before must not pass for it.
        for stale in prompt::artifacts_of(role) {
            let _ = std::fs::remove_file(dir.join(stale));
        }
        Ok::<_, EngineError>((sha, tree))
    })
    .await?;
    let patch = RunPatch {
        step: Some(RunStep::Prepared),
        start_sha: Some(start_sha),
        start_tree: Some(start_tree),
        ..RunPatch::default()
    };
    a.record(engine, patch).await?;
    Ok(Step::On)
}

pub(super) fn role(a: &Attempt) -> Result<Role, EngineError> {
    a.job.role.ok_or_else(|| EngineError::Invalid {
        what: format!("job {} has no role", a.job.id),
    })
}

fn check_out(
    project: &ProjectHandle,
    task: &crate::domain::task::Task,
    worktree: &Path,
) -> Result<(Sha, CodeTree), EngineError> {
    let repo = project.repository()?;
    // The first push makes the branch: nobody waits for that here.
    let head = repo.start_of(&task.branch)?;
    repo.prepare_from_spare(worktree, &head)?;
    let tree = repo.code_tree(&head)?;
    Ok((head, tree))
}

fn render(a: &Attempt, role: Role) -> Result<String, EngineError> {
    let config = &a.project.config;
    // The packet is for whoever has to mend what was red; it stays with the task until then.
    let packet: Option<EvidencePacket> = match (&a.task.evidence, role) {
        (Some(json), Role::Developer) => serde_json::from_str(json).ok(),
        (Some(_) | None, _) => None,
    };
    let template = match config.prompts.get(&role) {
        Some(path) => Some(std::fs::read_to_string(path).map_err(|e| EngineError::Invalid {
            what: format!(
                "prompts.{role} in {}: {}: {e}",
                config.source.display(),
                path.display()
            ),
        })?),
        None => None,
    };
    let context = PromptContext {
        project: config.name.as_str(),
        work_item_id: a.task.work_item_id.as_str(),
        title: &a.task.title,
        description: &a.task.description,
        stage: a.stage.name.as_str(),
        branch: a.task.branch.as_str(),
        main: config.main.as_str(),
        artifacts_dir: &artifacts_dir(&a.task),
        test_command: config.test_command.as_deref(),
        evidence: packet.as_ref(),
        comment: None,
        notes: a.job.notes.as_deref(),
        attempt: u32::try_from(a.job.attempts.max(1)).unwrap_or(1),
    };
    prompt::render(role, &context, template.as_deref())
        .map_err(|e| EngineError::Invalid { what: e.to_string() })
}

fn write(dir: &Path, name: &str, content: &[u8]) -> Result<(), EngineError> {
    std::fs::create_dir_all(dir).map_err(EngineError::file(dir))?;
    let path = dir.join(name);
    std::fs::write(&path, content).map_err(EngineError::file(path))
}

/// A branch may hold a link where Orch is about to write: it would lead out of the worktree.
fn no_link_on(worktree: &Path, dir: &str) -> Result<(), EngineError> {
    let request = format!("{dir}/{REQUEST}");
    let mut path = worktree.to_owned();
    for part in Path::new(&request) {
        path.push(part);
        if path.is_symlink() {
            let shown = path.strip_prefix(worktree).unwrap_or(&path).display();
            let what = format!("{shown} is a link in the branch: make it a real folder or file there");
            return Err(EngineError::Invalid { what });
        }
    }
    Ok(())
}
