//! One worktree per project stands ready, so that an agent begins to work as soon as it is asked for.
//! A spare is only ever faster: where there is none, a run makes its own worktree.

use std::path::{Path, PathBuf};

use crate::domain::id::ProjectId;

use super::{Engine, EngineError, blocking};

/// Makes the project's spare worktree, or brings it to where main is now; removes it where none is wanted. Safe to repeat.
///
/// # Errors
/// git's.
pub async fn provide(engine: &Engine, id: ProjectId) -> Result<(), EngineError> {
    let project = engine.project(id)?;
    let path = folder(engine).join(project.config.name.as_str());
    let wanted = engine.settings().queue.spare_worktrees;
    blocking(move || {
        if !wanted && !path.exists() {
            return Ok(());
        }
        let repo = project.repository()?;
        match wanted {
            true => repo.make_spare(&path),
            false => repo.remove_spare(&path),
        }
    })
    .await
}

/// Removes those of projects that are no more.
pub(super) async fn sweep(engine: &Engine) -> Result<(), EngineError> {
    let folder = folder(engine);
    let known: Vec<PathBuf> = engine
        .projects()
        .map(|p| folder.join(p.config.name.as_str()))
        .collect();
    blocking(move || {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        for path in entries.map(|e| e.path()).filter(|path| !known.contains(path)) {
            remove(&path).map_err(EngineError::file(path))?;
        }
        Ok::<_, EngineError>(())
    })
    .await
}

fn remove(path: &Path) -> std::io::Result<()> {
    match path.is_dir() && !path.is_symlink() {
        true => std::fs::remove_dir_all(path),
        false => std::fs::remove_file(path),
    }
}

/// Beside the worktrees, on the same file system: a spare is moved there.
fn folder(engine: &Engine) -> PathBuf {
    engine.settings().data_dir.join("spare")
}
