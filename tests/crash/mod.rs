//! The service dies at each of its fail points, and the next start brings the task to the same end. `just crash` dies at
//! every point on both databases; the everyday run at some of them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::panic, reason = "a test fails by panicking")]

mod declared;
mod play;
mod scene;

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use play::{PLAYS, Play};
use scene::{Database, End, Scene};

/// How many points each database dies at in an everyday run; `all` is every one.
const POINTS: &str = "ORCH_TEST_CRASH_POINTS";
const EVERYDAY: usize = 6;
/// Walks at the same time: they wait for processes most of the time.
const SIDE_BY_SIDE: usize = 3;

/// A point of a play that no earlier play has.
struct Death {
    play: Play,
    point: String,
}

/// What undisturbed plays are.
struct Undisturbed {
    /// Their points, in the order in which they are reached.
    points: Vec<Death>,
    /// How each ends.
    ends: Vec<(Play, End)>,
}

fn undisturbed(database: Database) -> Option<Undisturbed> {
    let (mut seen, mut points, mut ends) = (BTreeSet::new(), Vec::new(), Vec::new());
    for play in PLAYS {
        let (reached, end) = Scene::new(database, play)?.traced();
        let new = reached.into_iter().filter(|p| seen.insert(p.clone()));
        points.extend(new.map(|point| Death { play, point }));
        ends.push((play, end));
    }
    Some(Undisturbed { points, ends })
}

/// Of these points, those that are to be died at now: all, or some from everywhere in the walk.
fn chosen(points: &[Death]) -> Vec<&Death> {
    let wanted = match std::env::var(POINTS).ok().as_deref() {
        Some("all") => return points.iter().collect(),
        Some(number) => number.parse().unwrap(),
        None => EVERYDAY,
    };
    let nth = |n: usize| &points[(2 * n + 1) * points.len() / (2 * wanted)];
    (0..wanted.min(points.len())).map(nth).collect()
}

fn dies_everywhere(database: Database) {
    let Some(Undisturbed { points, ends }) = undisturbed(database) else {
        return;
    };
    let todo = chosen(&points);
    say(&format!(
        "{database:?}: {} points, {} of them died at now",
        points.len(),
        todo.len()
    ));
    let (next, done, failed) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let began = Instant::now();
    let work = || {
        while let Some(Death { play, point }) = todo.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (_, expected) = ends.iter().find(|(of, _)| of == play).unwrap();
            let died = std::panic::catch_unwind(|| Scene::new(database, *play).unwrap().dies_at(point));
            let wrong = match died {
                Ok(end) => expected.differs_from(&end),
                Err(panic) => Some(words(&*panic)),
            };
            if let Some(why) = wrong {
                failed.lock().unwrap().push(format!("{play:?}, {point}: {why}"));
            }
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, todo.len(), point);
        }
    };
    std::thread::scope(|scope| {
        (0..SIDE_BY_SIDE).for_each(|_| drop(scope.spawn(work)));
    });
    let failed = failed.into_inner().unwrap();
    say(&format!(
        "{database:?}: died at {} of {} points in {} s, {} ended otherwise",
        todo.len(),
        points.len(),
        began.elapsed().as_secs(),
        failed.len()
    ));
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// A bar on a terminal; elsewhere a line now and then.
fn progress(done: usize, all: usize, point: &str) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let filled = 40 * done / all;
        let bar = format!("{}{}", "#".repeat(filled), ".".repeat(40 - filled));
        let said = write!(out, "\r[{bar}] {done}/{all} {point:.60}\x1b[K");
        said.unwrap();
        if done == all {
            writeln!(out).unwrap();
        }
    } else if done.is_multiple_of(25) {
        say(&format!("{done} of {all}"));
    }
}

fn say(line: &str) {
    // Past what captures the output of tests.
    let said = writeln!(std::io::stderr(), "crash: {line}");
    said.unwrap();
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
    text.unwrap_or_default()
}

#[test]
fn whoever_dies_at_any_point_ends_the_same_on_sqlite() {
    dies_everywhere(Database::Sqlite);
}

#[test]
fn whoever_dies_at_any_point_ends_the_same_on_postgresql() {
    dies_everywhere(Database::Postgres);
}
