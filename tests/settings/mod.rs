//! Settings and project files: what a person writes, what they are told, what the rest of Orch gets.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod files;
mod layers;
mod project;

use std::path::Path;

use orch::settings::{LoadOptions, Settings, SettingsError, Warning};
use tempfile::TempDir;

/// A folder to start the service in, a file perhaps, an environment perhaps.
struct Start {
    dir: TempDir,
    options: LoadOptions,
}

impl Start {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let options = LoadOptions {
            cwd: dir.path().to_owned(),
            ..LoadOptions::default()
        };
        Self { dir, options }
    }

    fn file(mut self, text: &str) -> Self {
        self.options.config_file = Some(self.write("orch.toml", text));
        self
    }

    fn write(&self, name: &str, text: &str) -> std::path::PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.options.env.push((name.to_owned(), value.to_owned()));
        self
    }

    fn load(&self) -> Result<(Settings, Vec<Warning>), SettingsError> {
        Settings::load(self.options.clone())
    }

    fn settings(&self) -> Settings {
        match self.load() {
            Ok((settings, _)) => settings,
            Err(e) => panic!("refused:\n{e}"),
        }
    }

    /// The warnings, without the folder's name.
    fn warnings(&self) -> String {
        let (_, warnings) = self.load().unwrap();
        let lines: Vec<_> = warnings.iter().map(Warning::to_string).collect();
        self.plain(&lines.join("\n"))
    }

    /// The error, without the folder's name.
    fn error(&self) -> String {
        match self.load() {
            Ok(_) => panic!("accepted"),
            Err(e) => self.plain(&e.to_string()),
        }
    }

    fn plain(&self, text: &str) -> String {
        text.replace(&self.dir.path().display().to_string(), "/x")
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A key's value and source as shown.
    fn shown(&self, key: &str) -> String {
        let all = self.settings().describe();
        let one = all.iter().find(|d| d.key == key).unwrap();
        self.plain(&format!("{} from {}", one.value, one.source))
    }
}
