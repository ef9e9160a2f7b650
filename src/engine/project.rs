//! A project with its repository. Opens the repository when it is first needed, so that one broken project
//! never stops the others.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::domain::id::{ProjectId, StageName};
use crate::domain::pipeline::Stage;
use crate::git::{GitError, Origin, Repository};
use crate::integrations::forge::{Forge, NotSetUp};
use crate::integrations::tracker::Tracker;
use crate::settings::Settings;
use crate::settings::project::Project;

use super::EngineError;

/// A project under Orch's care.
pub struct ProjectHandle {
    /// Its row.
    pub id: ProjectId,
    /// Its file, validated.
    pub config: Project,
    /// Its forge.
    pub forge: Forge,
    /// Its tracker.
    pub tracker: Tracker,
    bare: PathBuf,
    settings: Arc<Settings>,
    repository: Mutex<Option<Repository>>,
}

impl ProjectHandle {
    /// A project whose bare clone lives where the settings say.
    ///
    /// # Errors
    /// [`NotSetUp`] when the settings say nothing of the forge that it names.
    pub fn new(id: ProjectId, config: Project, settings: &Arc<Settings>) -> Result<Self, NotSetUp> {
        let bare = settings.repos_dir.join(format!("{}.git", config.name));
        let (forge, tracker) = (Forge::of(&config, settings)?, Tracker::of(config.tracker));
        Ok(Self {
            id,
            config,
            forge,
            tracker,
            bare,
            settings: settings.clone(),
            repository: Mutex::new(None),
        })
    }

    /// Orch's clone of the repository; made or opened at the first call. Blocking.
    ///
    /// # Errors
    /// What git says of the repository; asked anew at the next call.
    pub fn repository(&self) -> Result<Repository, GitError> {
        let mut slot = self
            .repository
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        // An agent could remove what its worktree belongs to: then it is cloned anew.
        if let Some(open) = slot.as_ref().filter(|open| open.bare().join("HEAD").exists()) {
            return Ok(open.clone());
        }
        let origin = Origin::of(&self.config.repo, &self.settings)?;
        let opened = Repository::open_or_clone(&self.bare, origin, &self.config.main)?;
        *slot = Some(opened.clone());
        Ok(opened)
    }

    /// A failure of git, with the file to look at where a person has to change something.
    pub fn explain(&self, e: &GitError) -> String {
        if e.needs_a_person() {
            format!(
                "{e} (project {}, {})",
                self.config.name,
                self.config.source.display()
            )
        } else {
            e.to_string()
        }
    }

    /// The stage of that name.
    ///
    /// # Errors
    /// `Conflict` when the project's pipeline no longer has it.
    pub fn stage(&self, name: &StageName) -> Result<&Stage, EngineError> {
        self.config
            .pipeline
            .stage(name)
            .ok_or_else(|| EngineError::Conflict {
                what: format!(
                    "stage {:?} is no longer in the pipeline of {}: put it back in {}, or cancel the task",
                    name.as_str(),
                    self.config.name,
                    self.config.source.display()
                ),
            })
    }
}
