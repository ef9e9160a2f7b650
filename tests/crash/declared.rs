//! Every commit and every deed that stands in the source is a point that some walk dies at, or is named here with the
//! test that lets it die or the reason why nothing can. A new one that nobody dies at fails a test.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use super::play::PLAYS;
use super::scene::{Database, Scene};

/// Points that no play of this suite comes to, and what is known of them instead.
const ELSEWHERE: [(&str, &str); 20] = [
    (
        "commit engine::deliver::bury",
        "needs a row that cannot be read; done again at the next round: engine::telling",
    ),
    (
        "commit engine::heal::actor_restarted",
        "needs a panic of an actor, and only tells of it: supervision::whole_service",
    ),
    (
        "commit engine::host::tell",
        "needs a disk that is full: engine::host_watch, bad_input::full_disk",
    ),
    (
        "commit engine::prune::batch",
        "needs rows that are months old; a batch is one commit, the next sweep goes on: engine::pruning",
    ),
    (
        "commit engine::prune::give_up",
        "needs kept work that is months old: engine::pruning",
    ),
    (
        "commit engine::gestures::cancel_unplaced",
        "needs a project without its file; nothing follows its one commit",
    ),
    (
        "commit engine::heal::monitor_replaced",
        "needs a panic of a monitor, and only tells of it: supervision::whole_service",
    ),
    (
        "commit engine::reap::heal",
        "counts a dead look, again at the next tick: engine::reaper",
    ),
    (
        "commit engine::reap::lost::queue_again",
        "needs another instance that is silent: instances::",
    ),
    (
        "commit engine::reclaim::release",
        "a person's release, one guarded commit: engine::leases",
    ),
    (
        "commit engine::reconcile::alert",
        "needs a gate that waits for an hour, told once by its cause: engine::reconciling",
    ),
    (
        "commit engine::reconcile::perform::perform",
        "needs a job that was lost, one commit by the task's version: engine::reconciling, walk::forgotten",
    ),
    (
        "commit engine::rescue::deed::give_up",
        "needs work that is gone from the clone: engine::rescue",
    ),
    (
        "commit engine::run::agent::ended",
        "only a remark about what an agent used",
    ),
    (
        "commit engine::run::failed::already_past",
        "needs a task that somebody moves under its job: engine::superseded",
    ),
    (
        "commit engine::run::failed::without_stage",
        "needs a project without its file: engine::reaper",
    ),
    (
        "commit engine::run::merge::copy_left_behind",
        "needs a person's copy that is not clean: engine::merging",
    ),
    (
        "commit engine::run::merge::in_one_write",
        "needs a merge that is refused: engine::merging",
    ),
    (
        "commit engine::run::reaped::take",
        "needs a job that nobody drives: engine::reaper",
    ),
    (
        "deed kill orphans",
        "needs a shim that is killed, and is done until nothing is left: process::trees",
    ),
];

static WRITES: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\bstore(?:\(\))?\s*\.\s*(?:try_)?write(?:_blocking)?\(").unwrap());
static DEEDS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"\bdeed!\(\s*"([^"]+)"\s*,\s*[^"]"#).unwrap());
static FUNCTIONS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bfn\s+(\w+)").unwrap());
static PARAMETERS: LazyLock<Regex> = LazyLock::new(|| Regex::new("(::)?<[^<>]*>").unwrap());
static TESTS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"#\[cfg\(test\)\]").unwrap());

/// The points in the source, each without its side: `commit engine::queue::claim`, `deed start a shim`.
fn declared() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let places = files(&root).into_iter().filter(|f| !f.ends_with("failpoint.rs"));
    for file in places {
        let path = file.strip_prefix(&root).unwrap().with_extension("");
        let module = path.display().to_string().replace('/', "::");
        let module = module.trim_end_matches("::mod");
        let text = fs::read_to_string(&file).unwrap();
        let text = &text[..TESTS.find(&text).map_or(text.len(), |at| at.start())];
        for write in WRITES.find_iter(text) {
            let before = FUNCTIONS.captures_iter(&text[..write.start()]).last();
            let function = before.map_or("?".to_owned(), |f| f[1].to_owned());
            found.insert(format!("commit {module}::{function}"));
        }
        // Calls of git are points each by itself, declared in one place.
        let deeds = DEEDS.captures_iter(text).filter(|deed| &deed[1] != "git");
        found.extend(deeds.map(|deed| format!("deed {}", &deed[1])));
    }
    found
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let mut found = Vec::new();
    for path in entries {
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

/// A point as it is reached, in the words of the source: types are not told there.
fn plain(point: &str) -> String {
    let (point, _) = point.rsplit_once(':').unwrap();
    let mut point = point.to_owned();
    while let Cow::Owned(less) = PARAMETERS.replace_all(&point, "") {
        point = less;
    }
    let words: Vec<&str> = point.split("::").collect();
    let is_type = |word: &str| word.starts_with(|c: char| c.is_ascii_uppercase());
    words
        .into_iter()
        .filter(|w| !is_type(w))
        .collect::<Vec<_>>()
        .join("::")
}

#[test]
fn every_commit_and_every_deed_is_a_point_that_is_died_at_or_named_with_its_reason() {
    let declared = declared();
    assert!(declared.len() > 40, "{declared:#?}");
    let mut reached = BTreeSet::new();
    for play in PLAYS {
        for database in [Database::Sqlite, Database::Postgres] {
            if let Some(scene) = Scene::new(database, play) {
                reached.extend(scene.traced().0.iter().map(|p| plain(p)));
            }
        }
    }
    let unknown: Vec<_> = reached
        .iter()
        .filter(|p| !p.starts_with("git ") && !declared.contains(*p))
        .collect();
    assert!(
        unknown.is_empty(),
        "reached, and not found in the source: {unknown:#?}"
    );
    let named: BTreeSet<String> = ELSEWHERE.iter().map(|(point, _)| (*point).to_owned()).collect();
    let missing: Vec<_> = declared
        .difference(&reached)
        .filter(|p| !named.contains(*p))
        .collect();
    assert!(missing.is_empty(), "nobody dies at these: {missing:#?}");
    let stale: Vec<_> = named
        .iter()
        .filter(|p| reached.contains(*p) || !declared.contains(*p))
        .collect();
    assert!(stale.is_empty(), "died at by now, or gone: {stale:#?}");
}
