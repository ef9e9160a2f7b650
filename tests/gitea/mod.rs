//! Gitea and Forgejo: the fake one behaves as the real ones are documented to, and what talks to it lives with all of that.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
mod fake;
mod git;
mod walk;

use std::path::PathBuf;

use orch::domain::forge::RepositoryName;
use orch::domain::id::{BranchName, Sha};
use orch::domain::time::Timestamp;
use orch::integrations::forge::gitea::Gitea;
use orch::settings::{LoadOptions, Settings};

use crate::support::fake_gitea::{FakeGitea, REPOSITORY, TOKEN};

const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

fn client_with(gitea: &FakeGitea, token: &str) -> Gitea {
    let settings = settings(&gitea.url, token);
    let name = RepositoryName::of(&gitea.url, &gitea.clone_url(REPOSITORY)).unwrap();
    Gitea::of(&settings, &name).unwrap()
}

fn client(gitea: &FakeGitea) -> Gitea {
    client_with(gitea, TOKEN)
}

fn settings(url: &str, token: &str) -> Settings {
    let env = [("ORCH_GITEA_URL", url), ("ORCH_GITEA_TOKEN", token)];
    let options = LoadOptions {
        config_file: None,
        env: env.map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
        cwd: PathBuf::from("/"),
    };
    Settings::load(options).unwrap().0
}

fn branch(name: &str) -> BranchName {
    BranchName::parse(name).unwrap()
}

fn sha(text: &str) -> Sha {
    Sha::parse(text).unwrap()
}
