//! Every commit and every deed that stands in the source is a point that some walk dies at, or is named here with the
//! test that lets it die or the reason why nothing can. A new one that nobody dies at fails a test.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use super::scene::Database;
use super::undisturbed;

/// Points that no play of this suite comes to, and what is known of them instead.
const ELSEWHERE: [(&str, &str); 10] = [
    (
        "commit engine::heal::actor_restarted",
        "needs a panic of one of the service's own actors, which nothing outside can cause; its one row only tells of it, and the \
     actor begins from the database as after any start: supervision::told, supervision::lives",
    ),
    (
        "deed remove the worktree of an unknown check",
        "needs a project file that was taken away while a check of it ran; the folder is found by the next sweep as by this one: \
     engine::left_over",
    ),
    (
        "commit engine::nodes::blacklist",
        "a person's one row, which is written or not; whoever got no answer looks at `orch node list`: engine::nodes",
    ),
    (
        "deed ssh",
        "needs an sshd; what it does on a node is named after the run and done again from its step: engine::nodes dies \
     while an agent works there, and while its node is away",
    ),
    (
        "deed end an ssh that hangs",
        "needs a node that is silent for minutes; the child is ours, and ends with its connection",
    ),
    (
        "deed give an issue in Plane a state",
        "needs a Plane; who dies before or after it asks for the state again, finds it or writes it, and has noted that its echo \
         is its own: engine::to_plane",
    ),
    (
        "deed comment on an issue in Plane",
        "needs a Plane; who dies before or after it sends the comment again, and Plane keeps one for its external id: \
         plane::client, engine::to_plane",
    ),
    (
        "commit engine::budget::park",
        "needs a task that spent its limit; one transaction ends the job and parks the task: before it the next claim finds both \
         as they were, after it there is no job to find: engine::budgets",
    ),
    (
        "commit engine::budget::tell_day",
        "needs a project that spent its day's limit; one notice with a cause of its own for each day, looked for before it is \
         written: engine::budgets",
    ),
    (
        "commit engine::run::spending::look",
        "needs a limit and an agent that works for seconds after it told what it costs; whoever comes after reads its output \
         from the beginning and replaces what was counted: engine::budgets dies after the look that stops a run",
    ),
];

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
    for (by, names) in HANDED_ON {
        assert!(found.remove(by), "{by} is gone");
        found.extend(names.iter().map(|name| (*name).to_owned()));
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
    for database in [Database::Sqlite, Database::Postgres] {
        let points = undisturbed(database)
            .into_iter()
            .flat_map(|played| &played.points);
        reached.extend(points.map(|death| plain(&death.point)));
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
