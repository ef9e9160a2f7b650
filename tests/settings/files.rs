//! What is shipped in `config/`.

use orch::settings::{DEFAULT_TOML, KEYS, Project};

use super::Start;

#[test]
fn the_shipped_defaults_hold_every_key_with_its_documentation_and_nothing_else() {
    let described = Start::new().settings().describe();
    for key in KEYS {
        let one = described.iter().find(|d| d.key == key.name).unwrap();
        assert!(one.doc.len() > 10, "{} has no comment above it", key.name);
        assert_eq!(one.source, "default", "{}", key.name);
    }
    assert_eq!(described.len(), KEYS.len());
    // Read as a file, an unknown key or a wrong type in it would be refused.
    let as_file = Start::new().file(DEFAULT_TOML);
    assert_eq!(as_file.warnings(), "");
    for one in as_file.settings().describe() {
        assert!(
            one.source.starts_with("file "),
            "{} is not written in default.toml",
            one.key
        );
    }
}

#[test]
fn the_file_in_the_repository_is_the_one_that_is_built_in() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/default.toml");
    assert_eq!(std::fs::read_to_string(path).unwrap(), DEFAULT_TOML);
}

#[test]
fn every_key_has_an_environment_name_of_its_own() {
    let mut names: Vec<_> = KEYS.iter().map(orch::settings::Key::env_name).collect();
    names.sort();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn every_example_is_accepted() {
    let dir = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config/examples"));
    let team = Start::new()
        .file(&std::fs::read_to_string(dir.join("team.toml")).unwrap())
        .env("ORCH_GITEA_TOKEN", "t")
        .env("ORCH_PLANE_API_TOKEN", "t")
        .settings();
    let mut projects = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        if path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("project-")
        {
            if let Err(e) = Project::load(&path, &team) {
                panic!("{e}");
            }
            projects += 1;
        } else {
            Start::new().file(&text).settings();
        }
    }
    assert_eq!(projects, 4);
}
