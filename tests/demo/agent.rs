//! The scripted agent walks through all roles in a real repository, as Orch would start it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use orch::cli::demo::sample;
use orch::cli::demo::verify::{Merges, merged_once};
use orch::domain::id::{BranchName, Sha};
use orch::git::sample as repository;

const TASK: &str = "DEMO-001";
const DOCS: &str = "docs/work-items/DEMO-001";

/// A sample repository with the task's branch checked out, and the agent beside it.
struct Walk {
    folder: tempfile::TempDir,
    base: Sha,
}

impl Walk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let main = BranchName::trusted(sample::MAIN);
        let base = repository::create(&folder.path().join("repo"), &main, &sample::HISTORY).unwrap();
        fs::write(folder.path().join("agent.sh"), sample::AGENT).unwrap();
        let walk = Self { folder, base };
        walk.git(&["checkout", "--quiet", "-b", "feature/DEMO-001"]);
        walk
    }

    fn repo(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.repo())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("GIT_CONFIG_GLOBAL", "/dev/null");
        command
    }

    fn git(&self, args: &[&str]) -> String {
        let identity = ["-c", "user.name=orch", "-c", "user.email=orch@test.invalid"];
        let output = self.command("git").args(identity).args(args).output().unwrap();
        assert!(output.status.success(), "git {args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts the agent as Orch would, and commits what it leaves.
    fn role(&self, role: &str, stage: &str, prompt: &str) -> String {
        let prompt_file = self.folder.path().join("prompt.md");
        fs::write(&prompt_file, prompt).unwrap();
        let mut agent = self.command("sh");
        agent
            .arg(self.folder.path().join("agent.sh"))
            .env("ORCH_ROLE", role)
            .env("ORCH_STAGE", stage)
            .env("ORCH_WORK_ITEM", TASK)
            .env("ORCH_ARTIFACTS_DIR", DOCS)
            .env("ORCH_PROMPT_FILE", &prompt_file)
            .env("ORCH_BRANCH", "feature/DEMO-001")
            .env("ORCH_MAIN", sample::MAIN);
        let output = agent.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{role}: {output:?}");
        let message = format!("{role}: what was left");
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", &message]);
        said
    }

    fn artifact(&self, name: &str) -> String {
        fs::read_to_string(self.repo().join(DOCS).join(name)).unwrap_or_default()
    }

    fn tests_pass(&self) -> bool {
        let mut tests = self.command("sh");
        tests
            .args(["-c", sample::TESTS])
            .output()
            .unwrap()
            .status
            .success()
    }

    fn up_to_review(&self) {
        self.role("analyst", "analysis", "");
        self.role("architect", "architecture", "");
        self.role("developer", "development", "Build it.");
        self.role("reviewer", "review", "");
    }
}

fn field<'a>(artifact: &'a str, name: &str) -> Option<&'a str> {
    let matter = artifact.strip_prefix("---\n")?.split("\n---\n").next()?;
    let begin = format!("{name}: ");
    matter.lines().find_map(|line| line.strip_prefix(&begin))
}

#[test]
fn every_role_leaves_its_artifacts_and_the_reviewer_sends_the_first_attempt_back() {
    let walk = Walk::new();
    assert!(walk.tests_pass(), "the project's own tests pass before the task");

    walk.role("analyst", "analysis", "");
    for name in [
        "01-brd.md",
        "02-trz.md",
        "03-acceptance-criteria.md",
        "04-test-plan.yaml",
    ] {
        assert!(!walk.artifact(name).is_empty(), "{name}");
    }
    walk.role("architect", "architecture", "");
    assert_eq!(
        fs::read_dir(walk.repo().join(DOCS).join("06-adr"))
            .unwrap()
            .count(),
        1
    );

    walk.role("developer", "development", "Build it.");
    assert!(
        walk.tests_pass(),
        "the flaw is one that the developer's own tests miss"
    );

    walk.role("reviewer", "review", "");
    let review = walk.artifact("12-review.md");
    assert_eq!(field(&review, "verdict"), Some("REQUEST_CHANGES"));
    assert!(
        review.contains("findings:\n  - 'F1: --top counts \"The\" and \"the\" apart"),
        "{review}"
    );

    walk.role(
        "developer",
        "development",
        "It came back: F1: --top counts \"The\" and \"the\" apart",
    );
    assert!(walk.tests_pass());

    walk.role("reviewer", "review", "");
    let review = walk.artifact("12-review.md");
    assert_eq!(field(&review, "verdict"), Some("APPROVED"));
    assert_eq!(field(&review, "findings"), Some("[]"));

    walk.role("tester", "testing", "");
    assert_eq!(field(&walk.artifact("13-test-report.md"), "result"), Some("PASS"));
    walk.role("deployer", "deploy", "");
    assert_eq!(
        field(&walk.artifact("14-deploy-log.md"), "deploy_status"),
        Some("SUCCESS")
    );
    assert!(walk.folder.path().join("production/tally").exists());
}

#[test]
fn the_verdict_follows_the_code_and_not_how_often_it_was_asked() {
    let walk = Walk::new();
    walk.up_to_review();
    walk.role("reviewer", "review", "");
    assert_eq!(
        field(&walk.artifact("12-review.md"), "verdict"),
        Some("REQUEST_CHANGES")
    );
}

#[test]
fn a_developer_whose_prompt_lacks_the_finding_reads_the_review_on_the_branch() {
    let walk = Walk::new();
    walk.up_to_review();
    let said = walk.role("developer", "development", "It came back.");
    assert!(said.contains("folding case"), "{said}");
}

#[test]
fn a_role_that_is_run_again_breaks_nothing() {
    let walk = Walk::new();
    walk.up_to_review();
    walk.role("developer", "development", "");
    let before = walk.git(&["rev-parse", "HEAD:bin"]);
    for (role, stage) in [
        ("analyst", "analysis"),
        ("architect", "architecture"),
        ("developer", "development"),
    ] {
        walk.role(role, stage, "Once more.");
    }
    assert_eq!(walk.git(&["rev-parse", "HEAD:bin"]), before);
    assert!(walk.tests_pass());
}

#[test]
fn a_tester_who_finds_a_broken_program_says_so() {
    let walk = Walk::new();
    walk.up_to_review();
    fs::write(walk.repo().join("bin/tally"), "exit 1\n").unwrap();
    walk.role("tester", "testing", "");
    assert_eq!(field(&walk.artifact("13-test-report.md"), "result"), Some("FAIL"));
}

fn merged(walk: &Walk, repo: &Path, candidate: &str) -> Merges {
    merged_once(repo, &walk.base, Some(candidate)).unwrap()
}

#[test]
fn one_merge_is_told_from_none_from_two_and_from_a_forked_one() {
    let walk = Walk::new();
    let repo = walk.repo();
    walk.up_to_review();
    let candidate = walk.git(&["rev-parse", "HEAD"]).trim().to_owned();
    assert!(matches!(merged(&walk, &repo, &candidate), Merges::Other(what) if what.contains("never moved")));

    walk.git(&["checkout", "--quiet", "main"]);
    walk.git(&["merge", "--quiet", "--ff-only", "feature/DEMO-001"]);
    assert!(matches!(merged(&walk, &repo, &candidate), Merges::One(tip, _) if tip.as_str() == candidate));
    let base = walk.base.as_str();
    assert!(matches!(merged(&walk, &repo, base), Merges::Other(what) if what.contains("the candidate is")));

    walk.git(&["commit", "--quiet", "--allow-empty", "--message", "again"]);
    assert!(matches!(merged(&walk, &repo, &candidate), Merges::Other(what) if what.contains("2 times")));
}

#[test]
fn a_merge_commit_is_not_a_straight_way() {
    let walk = Walk::new();
    walk.up_to_review();
    let candidate = walk.git(&["rev-parse", "HEAD"]).trim().to_owned();
    walk.git(&["checkout", "--quiet", "main"]);
    walk.git(&[
        "merge",
        "--quiet",
        "--no-ff",
        "--message",
        "merge",
        "feature/DEMO-001",
    ]);
    assert!(
        matches!(merged(&walk, &walk.repo(), &candidate), Merges::Other(what) if what.contains("follows 2 commits"))
    );
}
