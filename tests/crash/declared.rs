//! Every commit and every deed that stands in the source is a point that some walk dies at, on each database, or is named
//! here with the test that lets it die or the reason why nothing can. A new one that nobody dies at fails a test. A commit
//! has its function's name, so no function has two.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use super::scene::Database;
use super::undisturbed;

/// A point that no play of this suite comes to.
struct Elsewhere {
    point: &'static str,
    /// The databases on which none does.
    on: &'static [Database],
    /// What is known of it instead.
    known: &'static str,
}

const BOTH: &[Database] = &[Database::Sqlite, Database::Postgres];

const ELSEWHERE: [Elsewhere; 16] = [
    Elsewhere {
        point: "commit engine::run::watch::verdict::nothing_to_watch",
        on: BOTH,
        known: "the end of a job whose verdict came otherwise, which is written or not: engine::watching",
    },
    Elsewhere {
        point: "commit engine::run::deploy::forgotten",
        on: BOTH,
        known: "needs a second task, and a first one whose job is gone; it is the same transaction as that of the attempt's own job, \
                and whoever comes next does it again: walk::deploys",
    },
    Elsewhere {
        point: "commit engine::deploys::release",
        on: BOTH,
        known: "a person's one row, which is gone or not; whoever got no answer looks at `orch deploy list`: walk::deploys",
    },
    Elsewhere {
        point: "commit engine::deploys::settle",
        on: BOTH,
        known: "a person's word, with all that follows in one transaction; said again it is refused: walk::deploys",
    },
    Elsewhere {
        point: "deed make a webhook at Gitea",
        on: BOTH,
        known: "a person's `orch init`, not the service; repeated, it finds the webhook that is there: cli::outside",
    },
    Elsewhere {
        point: "commit engine::heal::actor_restarted",
        on: BOTH,
        known: "needs a panic of one of the service's own actors, which nothing outside can cause; its one row only tells of it, \
                and the actor begins from the database as after any start: supervision::told, supervision::lives",
    },
    Elsewhere {
        point: "deed remove the worktree of an unknown check",
        on: BOTH,
        known: "needs a project file that was taken away while a check of it ran; the folder is found by the next sweep as by \
                this one: engine::left_over",
    },
    Elsewhere {
        point: "commit engine::instances::beat",
        on: &[Database::Sqlite],
        known: ALONE,
    },
    Elsewhere {
        point: "commit engine::reap::lost::queue_again",
        on: &[Database::Sqlite],
        known: ALONE,
    },
    Elsewhere {
        point: "commit engine::nodes::blacklist",
        on: BOTH,
        known: "a person's one row, which is written or not; whoever got no answer looks at `orch node list`: engine::nodes",
    },
    Elsewhere {
        point: "deed ssh",
        on: BOTH,
        known: "needs an sshd; what it does on a node is named after the run and done again from its step: engine::nodes dies \
                while an agent works there, and while its node is away",
    },
    Elsewhere {
        point: "deed end an ssh that hangs",
        on: BOTH,
        known: "needs a node that is silent for minutes; the child is ours, and ends with its connection",
    },
    Elsewhere {
        point: "deed give an issue in Plane a state",
        on: BOTH,
        known: "needs a Plane; who dies before or after it asks for the state again, finds it or writes it, and has noted that \
                its echo is its own: engine::to_plane",
    },
    Elsewhere {
        point: "deed comment on an issue in Plane",
        on: BOTH,
        known: "needs a Plane; who dies before or after it sends the comment again, and Plane keeps one for its external id: \
                plane::client, engine::to_plane",
    },
    Elsewhere {
        point: "commit engine::run::far::owner",
        on: BOTH,
        known: "needs an sshd; one row that is written once and read before anything is done on a node: engine::nodes",
    },
    Elsewhere {
        point: "deed note what a node has of a run",
        on: BOTH,
        known: "needs an sshd; it is written before anything is done there, and what came back after it did: without it the node \
                is asked again, and still has the work, or what was fetched is removed there by the next sweep: engine::nodes",
    },
];

const ALONE: &str = "one service has the file, so nobody else waits for a sign of life: nothing is written";

/// Functions whose commits are named by those who hand them their closures.
const HANDED_ON: [(&str, &[&str]); 1] = [(
    "commit engine::prune::batch",
    &["commit engine::prune::histories", "commit engine::prune::singles"],
)];

static WRITES: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\bstore(?:\(\))?\s*\.\s*(?:try_)?write(?:_blocking)?\(").unwrap());
static DEEDS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"\bdeed!\(\s*"([^"]+)"\s*,\s*[^"]"#).unwrap());
static FUNCTIONS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bfn\s+(\w+)").unwrap());
static PARAMETERS: LazyLock<Regex> = LazyLock::new(|| Regex::new("(::)?<[^<>]*>").unwrap());
static TESTS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"#\[cfg\(test\)\]").unwrap());

/// The points in the source, each without its side, and how often each stands there: `commit engine::queue::claim`,
/// `deed start a shim`.
fn declared() -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut add = |point: String| *found.entry(point).or_insert(0) += 1;
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
            add(format!("commit {module}::{function}"));
        }
        // Calls of git are points each by itself, declared in one place.
        let deeds = DEEDS.captures_iter(text).filter(|deed| &deed[1] != "git");
        deeds.for_each(|deed| add(format!("deed {}", &deed[1])));
    }
    for (by, names) in HANDED_ON {
        assert!(found.remove(by).is_some(), "{by} is gone");
        found.extend(names.iter().map(|name| ((*name).to_owned(), 1)));
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

fn elsewhere(database: Database) -> BTreeSet<String> {
    let named = ELSEWHERE.iter().filter(|named| named.on.contains(&database));
    named
        .inspect(|named| assert!(!named.known.is_empty(), "{}", named.point))
        .map(|named| named.point.to_owned())
        .collect()
}

fn each_is_died_at_or_named(database: Database) {
    let declared: BTreeSet<String> = declared().into_keys().collect();
    assert!(declared.len() > 40, "{declared:#?}");
    let Some(played) = undisturbed(database) else {
        return;
    };
    let reached: BTreeSet<String> = played.points.iter().map(|death| plain(&death.point)).collect();
    let unknown: Vec<_> = reached
        .iter()
        .filter(|p| !p.starts_with("git ") && !declared.contains(*p))
        .collect();
    let named = elsewhere(database);
    let missing: Vec<_> = declared
        .difference(&reached)
        .filter(|p| !named.contains(*p))
        .collect();
    let stale: Vec<_> = named
        .iter()
        .filter(|p| reached.contains(*p) || !declared.contains(*p))
        .collect();
    assert!(
        unknown.is_empty() && missing.is_empty() && stale.is_empty(),
        "reached, and not found in the source: {unknown:#?}\nnobody dies at these: {missing:#?}\ndied at by now, or gone: {stale:#?}"
    );
}

#[test]
fn every_commit_and_every_deed_is_a_point_that_is_died_at_or_named_with_its_reason_on_sqlite() {
    each_is_died_at_or_named(Database::Sqlite);
}

#[test]
fn every_commit_and_every_deed_is_a_point_that_is_died_at_or_named_with_its_reason_on_postgresql() {
    each_is_died_at_or_named(Database::Postgres);
}

#[test]
fn no_point_stands_for_two_commits_or_two_deeds() {
    let twice: Vec<_> = declared().into_iter().filter(|(_, times)| *times > 1).collect();
    assert!(
        twice.is_empty(),
        "give each a function or a name of its own: {twice:#?}"
    );
}
