//! Two tasks want into main at the same time. The project's own tests are run at every commit that main got.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use orch::engine::views::TaskDetail;

use crate::support::fake_gitea::{FakeGitea, REPOSITORY, TOKEN};
use crate::support::{Agent, Postgres, Project, Repo, Setup, THREE_STAGES, TestService, git};

/// Both are developed on the same main.
const TOGETHER: &str = r#"
here "$ORCH_WORK_ITEM"
while [ ! -e "$out/SHOP-001" ] || [ ! -e "$out/SHOP-002" ]; do sleep 0.02; done
"#;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Local,
    Gitea,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Database {
    Sqlite,
    Postgres,
}

struct Race {
    service: TestService,
    ends: [TaskDetail; 2],
    /// The project's repository.
    repo: PathBuf,
    base: String,
    room: tempfile::TempDir,
    _repo: Option<Repo>,
    fake: Option<FakeGitea>,
    _database: Option<Postgres>,
}

/// Two tasks until both are done. None without a server.
fn race(place: Place, database: Database, (check, developer): (&str, &str), style: &str) -> Option<Race> {
    let own = match database {
        Database::Sqlite => None,
        Database::Postgres => Some(Postgres::fresh()?),
    };
    let room = tempfile::tempdir().unwrap();
    let (local, fake) = match place {
        Place::Local => (Some(Repo::bare()), None),
        Place::Gitea => (None, Some(FakeGitea::new())),
    };
    let files = [("check.sh", check)];
    let (at, repo, base) = match (&local, &fake) {
        (Some(repo), _) => {
            let base = repo.commit(&files, "What is tested");
            (repo.path.clone(), repo.path.clone(), base)
        }
        (None, Some(fake)) => {
            let base = fake.commit(REPOSITORY, "main", &files);
            (
                PathBuf::from(fake.clone_url(REPOSITORY)),
                fake.bare(REPOSITORY),
                base,
            )
        }
        (None, None) => return None,
    };
    // Every place where main was is noted.
    git(&repo, &["config", "core.logAllRefUpdates", "always"]);
    let tested = format!(
        "test_command = '''git rev-parse 'HEAD^{{tree}}' >>'{}/tested'; sh check.sh'''",
        room.path().display()
    );
    let agent = Agent::diligent().role("developer", &format!("{TOGETHER}{developer}"));
    let style = format!("[merge]\nstyle = '{style}'\n{THREE_STAGES}");
    let project = Project::at("shop", &at)
        .top("ci = 'tests'")
        .top(&tested)
        .agent(&agent)
        .then(&style);
    let mut setup = Setup::new().set("max_concurrency", 2).project(project);
    if let Some(fake) = &fake {
        setup = setup
            .set("gitea.url", fake.url.clone())
            .env("ORCH_GITEA_TOKEN", TOKEN);
    }
    if let Some(own) = &own {
        setup = setup.set("database.url", own.url());
    }
    let mut service = setup.start();
    let ids = [service.add("Write a"), service.add("Write b")];
    let ends = ids.map(|id| service.wait_status(&id, "done"));
    Some(Race {
        service,
        ends,
        repo,
        base,
        room,
        _repo: local,
        fake,
        _database: own,
    })
}

impl Race {
    /// The commits at which the project's tests are red.
    fn red(&self, commits: &[String]) -> Vec<String> {
        let look = self.room.path().join("look");
        if !look.exists() {
            git(
                self.room.path(),
                &["clone", "-q", self.repo.to_str().unwrap(), "look"],
            );
        }
        let is_red = |commit: &&String| {
            git(&look, &["checkout", "-q", "--detach", commit]);
            let tests = Command::new("sh").arg("check.sh").current_dir(&look).status();
            !tests.unwrap().success()
        };
        commits.iter().filter(is_red).cloned().collect()
    }

    /// All commits of main since the two began, oldest first, with the one before.
    fn log(&self) -> Vec<String> {
        let range = format!("{}..main", self.base);
        let list = git(&self.repo, &["rev-list", "--reverse", &range]);
        let list = list.lines().map(str::to_owned);
        [self.base.clone()].into_iter().chain(list).collect()
    }

    /// Where main was moved to, oldest first.
    fn moves(&self) -> Vec<String> {
        let log = fs::read_to_string(self.repo.join("logs/refs/heads/main")).unwrap();
        let to = |line: &str| line.split(' ').nth(1).unwrap().to_owned();
        log.lines().map(to).collect()
    }

    fn tree(&self, commit: &str) -> String {
        git(&self.repo, &["rev-parse", &format!("{commit}^{{tree}}")])
    }

    /// Main was moved once for each task, each time to a tree that was tested, and none of it is lost.
    fn merged_each_once(&self) {
        let moves = self.moves();
        assert_eq!(moves.len(), 2, "{moves:?}");
        let tested = fs::read_to_string(self.room.path().join("tested")).unwrap();
        for to in &moves {
            assert!(
                tested.lines().any(|tree| tree == self.tree(to)),
                "main was at {to}, which nobody tested"
            );
        }
        assert!(
            is_ancestor(&self.repo, &self.base, &moves[0]) && is_ancestor(&self.repo, &moves[0], &moves[1])
        );
        if let Some(fake) = &self.fake {
            let asked = fake.seen().into_iter();
            let taken = asked.filter(|s| s.path.ends_with("/merge") && s.status == Some(200));
            assert_eq!((taken.count(), fake.pulls(REPOSITORY).len()), (2, 2));
        }
    }

    fn retries(&self) -> [i32; 2] {
        let mut retries = self.ends.clone().map(|d| d.task.developer_retries);
        retries.sort_unstable();
        retries
    }
}

fn is_ancestor(repo: &Path, a: &str, b: &str) -> bool {
    let list = git(repo, &["rev-list", "--count", &format!("{b}..{a}")]);
    list == "0"
}

/// One merges; the other is rebased onto it, tested again, and merged.
fn both_get_in(place: Place, database: Database) {
    let work = (
        "set -eu\n[ ! -e broken ]\n[ -e README.md ]\n",
        "mkdir -p src; echo x >\"src/$ORCH_WORK_ITEM.txt\"; commit 'write it'",
    );
    let Some(race) = race(place, database, work, "fast-forward") else {
        return;
    };
    race.merged_each_once();
    assert_eq!(race.retries(), [0, 0]);
    let candidates: Vec<_> = race
        .ends
        .iter()
        .map(|d| d.task.candidate.clone().unwrap())
        .collect();
    let moves = race.moves();
    assert!(
        moves.iter().all(|m| candidates.contains(m)),
        "{moves:?} {candidates:?}"
    );
    let log = race.log();
    assert!(log.len() > 4, "{log:?}");
    assert_eq!(race.red(&log), [""; 0], "main was red");
    assert_eq!(git(&race.repo, &["rev-list", "--merges", "main"]), "");
}

/// Each is green alone and red with the other: the later one is sent back with what failed, and makes room.
fn the_later_one_makes_room(place: Place, database: Database, style: &str) {
    let work = (
        "set -eu\n[ ! -e a ] || [ ! -e b ] || { echo 'a and b do not go together'; exit 1; }\n",
        r#"
[ "$ORCH_WORK_ITEM" = SHOP-001 ] && mine=a || mine=b
if [ "$nth" = 1 ]; then echo x >"$mine"; commit "write it"; else git mv "$mine" "c"; commit "make room"; fi
"#,
    );
    let Some(race) = race(place, database, work, style) else {
        return;
    };
    race.merged_each_once();
    assert_eq!(
        race.retries(),
        [0, 1],
        "the first to merge was right, the other made room"
    );
    let late = race.ends.iter().find(|d| d.task.developer_retries == 1).unwrap();
    let prompt = race.service.prompt(&late.task.id, "developer", 2);
    assert!(
        prompt.contains("branch_mergeable") && prompt.contains("a and b do not go together"),
        "{prompt}"
    );
    // Wherever main was. What a branch had before it was red is on the way of a fast-forward; nothing of it is in a squash.
    assert_eq!(race.red(&race.moves()), [""; 0], "main was red");
    if style == "squash" {
        let log = race.log();
        assert_eq!(log.len(), 3);
        assert_eq!(race.red(&log), [""; 0], "main was red");
    }
}

#[test]
fn of_two_that_race_one_is_rebased_and_tested_again_and_main_is_green_at_every_commit() {
    both_get_in(Place::Local, Database::Sqlite);
}

#[test]
fn the_same_race_on_postgresql() {
    both_get_in(Place::Local, Database::Postgres);
}

#[test]
fn the_same_race_at_gitea() {
    both_get_in(Place::Gitea, Database::Sqlite);
}

#[test]
fn of_two_that_are_red_together_the_later_one_is_sent_back_and_main_is_never_red() {
    the_later_one_makes_room(Place::Local, Database::Sqlite, "fast-forward");
}

#[test]
fn the_same_two_as_one_commit_each_on_postgresql() {
    the_later_one_makes_room(Place::Local, Database::Postgres, "squash");
}

#[test]
fn the_same_two_at_gitea() {
    the_later_one_makes_room(Place::Gitea, Database::Sqlite, "fast-forward");
}

#[test]
fn the_same_two_as_one_commit_each_at_gitea_on_postgresql() {
    the_later_one_makes_room(Place::Gitea, Database::Postgres, "squash");
}
