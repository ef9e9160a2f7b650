//! What `orch init` sets up at Gitea: where the repository is, and a webhook that tells this service of it.

use std::path::Path;

use super::InitArgs;
use crate::cli::client::converse;
use crate::cli::exit::Failure;
use crate::cli::text::now;
use crate::integrations::forge::Forge;
use crate::integrations::forge::gitea::Gitea;
use crate::settings::{Project, Secret, Settings};

/// Where git finds a repository of the installation.
pub(super) fn at_gitea(name: &str, settings: &Settings) -> Result<String, Failure> {
    match &settings.gitea.url {
        Some(url) => Ok(format!(
            "{}/{}.git",
            url.trim_end_matches('/'),
            name.trim_matches('/')
        )),
        None => Err(Failure::Usage(
            "--gitea needs the setting gitea.url, the address of the installation, and gitea.token"
                .to_owned(),
        )),
    }
}

/// A webhook that is to be made.
pub(super) struct Hook {
    gitea: Gitea,
    to: String,
    secret: Secret,
}

impl Hook {
    /// Whether it can be made, before anything is.
    pub(super) fn asked(
        args: &InitArgs,
        project: &Project,
        settings: &Settings,
    ) -> Result<Option<Self>, Failure> {
        let Some(to) = &args.webhook_to else {
            return Ok(None);
        };
        let whole = to.strip_prefix("http://").or_else(|| to.strip_prefix("https://"));
        if whole.is_none_or(str::is_empty) {
            let why = format!("--webhook-to {to:?}: give an address, such as https://orch.example.org");
            return Err(Failure::Usage(why));
        }
        let Ok(Forge::Gitea(gitea)) = Forge::of(project, settings) else {
            return Err(Failure::Usage(
                "--webhook-to needs a repository at Gitea".to_owned(),
            ));
        };
        let Some(secret) = settings.gitea.webhook_secret.clone() else {
            return Err(Failure::Usage(
                "--webhook-to needs the setting gitea.webhook_secret: what is sent without one is refused"
                    .to_owned(),
            ));
        };
        Ok(Some(Self {
            gitea,
            to: format!("{}/webhook/gitea", to.trim_end_matches('/')),
            secret,
        }))
    }

    /// What to tell about it.
    pub(super) fn make(self, path: &Path) -> Result<String, Failure> {
        let made = converse(async { Ok(self.gitea.make_hook(&self.to, &self.secret, now()).await) })?;
        match made {
            Ok(true) => Ok(format!("{} is told what happens there", self.to)),
            Ok(false) => Ok(format!(
                "there is one to {} already, which is left as it is: `orch doctor` says what is wrong with it, if anything",
                self.to
            )),
            Err(e) => Err(Failure::Refused(format!(
                "the project was written to {}, and its webhook was not made: {e}",
                path.display()
            ))),
        }
    }
}
