//! What the README shows to copy really works.

use std::fs;
use std::path::Path;
use std::process::Command;

const README: &str = include_str!("../../README.md");

/// The agent that the README shows as a shell script.
fn agent() -> &'static str {
    README
        .split("```sh\n")
        .filter_map(|rest| rest.split("```").next())
        .find(|block| block.starts_with("#!/bin/sh"))
        .unwrap()
}

fn run(folder: &Path, role: &str) {
    let script = folder.join("greeter.sh");
    fs::write(&script, agent()).unwrap();
    let status = Command::new("sh")
        .arg(&script)
        .current_dir(folder)
        .env("ORCH_ROLE", role)
        .env("ORCH_ARTIFACTS_DIR", "docs/work-items/GREETER-1")
        .status()
        .unwrap();
    assert!(status.success(), "{role}: {status}");
}

#[test]
fn the_agent_in_the_readme_builds_and_judges() {
    let folder = tempfile::tempdir().unwrap();
    let review = folder.path().join("docs/work-items/GREETER-1/12-review.md");
    run(folder.path(), "reviewer");
    assert!(
        fs::read_to_string(&review)
            .unwrap()
            .starts_with("---\nverdict: REQUEST_CHANGES\n")
    );
    run(folder.path(), "developer");
    run(folder.path(), "reviewer");
    assert_eq!(
        fs::read_to_string(&review).unwrap(),
        "---\nverdict: APPROVED\nfindings: []\n---\n"
    );
}

#[test]
fn every_option_of_the_demo_is_in_the_readme() {
    for option in ["--interactive", "--keep", "--json"] {
        assert!(README.contains(&format!("`{option}`")), "{option}");
    }
}
