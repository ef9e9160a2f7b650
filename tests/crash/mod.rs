//! The service dies at each of its fail points, and the next start brings the task to the same end. `just crash` dies at
//! every point on both databases; the everyday run at some of them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::panic, reason = "a test fails by panicking")]

mod at_gitea;
mod declared;
mod gone;
mod losses;
mod money;
mod play;
mod production;
mod rows;
mod scene;

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use play::{PLAYS, Play};
use scene::{Database, End, Scene};

/// How many points each database dies at in an everyday run; `all` is every one, any other word those with it in them or
/// of the play of that name.
const POINTS: &str = "ORCH_TEST_CRASH_POINTS";
const EVERYDAY: usize = 6;
/// Walks at the same time: they wait for processes most of the time.
const SIDE_BY_SIDE: usize = 3;

/// A point, and the plays that came to it, the first one first. Some come to it by chance: a sweep that is faster than
/// who would have tidied up.
struct Death {
    plays: Vec<Play>,
    point: String,
}

/// What undisturbed plays are.
struct Undisturbed {
    /// Their points, in the order in which they are reached.
    points: Vec<Death>,
    /// How each ends.
    ends: Vec<(Play, End)>,
}

/// Played once for all tests of this program, all plays at the same time. None without a server.
fn undisturbed(database: Database) -> Option<&'static Undisturbed> {
    static SQLITE: OnceLock<Option<Undisturbed>> = OnceLock::new();
    static POSTGRES: OnceLock<Option<Undisturbed>> = OnceLock::new();
    let played = match database {
        Database::Sqlite => &SQLITE,
        Database::Postgres => &POSTGRES,
    };
    played.get_or_init(|| play_all(database)).as_ref()
}

fn play_all(database: Database) -> Option<Undisturbed> {
    let scenes: Option<Vec<_>> = PLAYS.iter().map(|play| Scene::new(database, *play)).collect();
    let traced: Vec<_> = std::thread::scope(|scope| {
        let played: Vec<_> = scenes?
            .into_iter()
            .map(|scene| scope.spawn(|| scene.traced()))
            .collect();
        Some(played.into_iter().map(|play| play.join().unwrap()).collect())
    })?;
    let (mut points, mut ends): (Vec<Death>, _) = (Vec::new(), Vec::new());
    for (play, (reached, end)) in PLAYS.into_iter().zip(traced) {
        for point in reached {
            let plays = |death: &&mut Death| death.plays.first().is_some_and(|first| alone(*first, &point));
            let own = alone(play, &point);
            let mut known = points.iter_mut().filter(|death| death.point == point);
            match known.find(|death| plays(death) == own) {
                Some(death) if death.plays.contains(&play) => {}
                Some(death) => death.plays.push(play),
                None => points.push(Death {
                    plays: vec![play],
                    point,
                }),
            }
        }
        ends.push((play, end));
    }
    Some(Undisturbed { points, ends })
}

/// A merge at Gitea is another one than git's: what is on the way there is died at for both.
fn alone(play: Play, point: &str) -> bool {
    let on_the_way = [
        "engine::deliver",
        "engine::lease",
        "engine::merge",
        "engine::run::forge",
        "engine::run::judge",
        "engine::run::merge",
        "engine::run::perform",
        "git push",
    ];
    play == Play::Gitea && on_the_way.iter().any(|part| point.contains(part))
}

/// Of these points, those that are to be died at now: all, those of a name, or some from everywhere in the walk.
fn chosen(points: &[Death]) -> Vec<&Death> {
    let asked = std::env::var(POINTS).ok();
    let wanted = match asked.as_deref().map(|asked| (asked, asked.parse())) {
        Some(("all", _)) => return points.iter().collect(),
        Some((word, Err(_))) => {
            let of = |d: &&Death| d.point.contains(word) || format!("{:?}", d.plays[0]) == word;
            return points.iter().filter(of).collect();
        }
        Some((_, Ok(number))) => number,
        None => EVERYDAY,
    };
    let nth = |n: usize| &points[(2 * n + 1) * points.len() / (2 * wanted)];
    (0..wanted.min(points.len())).map(nth).collect()
}

fn dies_everywhere(database: Database) {
    let Some(Undisturbed { points, ends }) = undisturbed(database) else {
        return;
    };
    let todo = chosen(points);
    say(&format!(
        "{database:?}: {} points, {} of them died at now",
        points.len(),
        todo.len()
    ));
    let (next, done, failed) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let began = Instant::now();
    let work = || {
        while let Some(Death { plays, point }) = todo.get(next.fetch_add(1, Ordering::Relaxed)) {
            let died = std::panic::catch_unwind(|| {
                let mut given = plays
                    .iter()
                    .map(|play| (*play, Scene::new(database, *play).unwrap().dies_at(point)));
                given.find_map(|(play, end)| Some((play, end?)))
            });
            let wrong = match died {
                Ok(Some((play, end))) => {
                    let (_, expected) = ends.iter().find(|(of, _)| *of == play).unwrap();
                    expected.differs_from(&end)
                }
                Ok(None) => Some("no play came there again".to_owned()),
                Err(panic) => Some(words(&*panic)),
            };
            if let Some(why) = wrong {
                failed.lock().unwrap().push(format!("{plays:?}, {point}: {why}"));
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
