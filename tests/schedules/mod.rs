//! Seeded random schedules of what can happen to the queue, its runs and the merge lease, on a pure model and on both
//! databases side by side: each answer and all tables must be the same after every step, and some things must hold
//! whatever happens.
//!
//! `ORCH_TEST_SCHEDULES` says how many (`just sim` runs 10,000), `ORCH_TEST_SEED` which ones.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![expect(clippy::print_stdout, reason = "what the schedules came to is shown")]
#![expect(clippy::print_stderr, reason = "a long test says how far it is")]

mod database;
mod invariants;
mod model;
mod op;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;

use orch::domain::job::JobKind;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use self::database::{Database, Executor};
use self::op::{Answer, Op, Schedule};
use self::world::World;

/// How many schedules are run where nobody says.
const SCHEDULES: u32 = 300;
/// From so many on they are shared out, and into how many shares.
const SHARE: u32 = 1_000;
const SHARES: u32 = 4;

fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text:?} is no number")),
    )
}

fn schedules() -> u32 {
    number("ORCH_TEST_SCHEDULES").unwrap_or(SCHEDULES)
}

/// What schedules came to: how often each operation was answered how. A late one is done on behalf of a claim that
/// another one has followed.
type Reached = BTreeMap<String, u64>;

fn note(reached: &mut Reached, op: Op, before: &World, word: &str) {
    let late = if invariants::is_followed(op, before) {
        "late "
    } else {
        ""
    };
    let name = format!("{op:?}");
    let name = name.split(['(', ' ']).next().unwrap_or_default();
    *reached.entry(format!("{late}{name}: {word}")).or_default() += 1;
}

/// What a few hundred schedules must come to, or they show nothing.
const MUST_REACH: [&str; 17] = [
    "late Finish: lost",
    "late Advance: lost",
    "late Reap: lost",
    "late Record: lost",
    "late Open: lost",
    "Finish: job",
    "Advance: won",
    "Advance: lost",
    "Reap: won",
    "Start: some",
    "Sweep: jobs",
    "Retry: job",
    "TakeOver: some",
    "TakeOver: lost",
    "Acquire: busy",
    "Reclaim: won",
    "Reclaim: lost",
];

/// How every schedule begins: two nodes are up, and one of them has begun a job.
const OPENING: [Op; 5] = [
    Op::Start(0),
    Op::Start(1),
    Op::Enqueue {
        task: 0,
        kind: JobKind::Agent,
        priority: 0,
        wait: 0,
    },
    Op::Claim {
        boot: 0,
        limit: 1,
        paused: false,
    },
    Op::Open(0),
];

/// One schedule on all databases; the first difference from the model, or broken promise, is the error.
fn run(schedule: &Schedule, databases: &mut [Database], reached: &mut Reached) -> Result<(), String> {
    let mut world = World::new(schedule.limits);
    for database in &mut *databases {
        database.reset();
    }
    let ops: Vec<Op> = OPENING.iter().chain(&schedule.ops).copied().collect();
    for (n, op) in ops.iter().enumerate() {
        let before = world.clone();
        let expected = world.apply(*op);
        let broken = |what: String| format!("step {n}, {op:?}: {what}");
        invariants::check(*op, &before, &expected, &world).map_err(broken)?;
        note(reached, *op, &before, expected.word());
        // Who loses may leave no trace, not even one that the next step covers.
        let look = expected == Answer::Lost || n + 1 == ops.len();
        for database in &mut *databases {
            let answer = database.apply(*op, &before);
            if answer != expected {
                let name = database.name;
                return Err(broken(format!(
                    "{name} answers\n{answer:#?}\ninstead of\n{expected:#?}"
                )));
            }
            if look {
                let tables = database.tables(&world);
                if tables != world.tables {
                    let (name, model) = (database.name, &world.tables);
                    return Err(broken(format!("{name} has\n{tables:#?}\ninstead of\n{model:#?}")));
                }
            }
        }
    }
    Ok(())
}

/// How a number of schedules ended, and what those came to that were all right.
struct Outcome {
    seed: u64,
    result: Result<(), TestError<Schedule>>,
    reached: Reached,
}

/// What all schedules of one test have in common.
#[derive(Clone, Copy)]
struct Trial {
    what: &'static str,
    seed: u64,
    count: u32,
}

impl Trial {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            seed: number("ORCH_TEST_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0),
            count: schedules(),
        }
    }

    /// Runs the schedules of the seed; what fails is shrunk.
    fn run(self, databases: Vec<Database>) -> Outcome {
        let Self { what, seed, count } = self;
        let names: Vec<_> = databases.iter().map(|d| d.name).collect();
        eprintln!(
            "{what}: {count} schedules on {}, ORCH_TEST_SEED={seed}",
            names.join(" and ")
        );
        let config = Config {
            cases: count,
            failure_persistence: None,
            max_shrink_iters: 2_000,
            ..Config::default()
        };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let state = RefCell::new((databases, Reached::new(), 0));
        let run_one = |schedule: Schedule| {
            let (databases, reached, done) = &mut *state.borrow_mut();
            *done += 1;
            if *done % 500 == 0 {
                eprintln!("{what}: {done} of {count}, ORCH_TEST_SEED={seed}");
            }
            run(&schedule, databases, reached).map_err(TestCaseError::fail)
        };
        let result = TestRunner::new_with_rng(config, rng).run(&op::schedule(), run_one);
        Outcome {
            seed,
            result,
            reached: state.into_inner().1,
        }
    }

    /// Many schedules are shared out, each share with databases and a seed of its own.
    fn share(self) -> Vec<Self> {
        let shares = if self.count < SHARE { 1 } else { SHARES };
        let one = |n: u32| Self {
            seed: self.seed.wrapping_add(u64::from(n)),
            count: self.count.div_ceil(shares),
            ..self
        };
        (0..shares).map(one).collect()
    }
}

#[test]
fn both_databases_do_what_the_model_does_whatever_the_order() {
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        let run = |trial: Trial| {
            // What is not run is said by the name of the test.
            let thread = std::thread::Builder::new().name(name.clone());
            thread.spawn_scoped(scope, move || {
                let databases = std::iter::once(Database::sqlite(Executor::True));
                trial.run(databases.chain(Database::postgres(Executor::True)).collect())
            })
        };
        let threads: Vec<_> = Trial::new("schedules").share().into_iter().map(run).collect();
        threads
            .into_iter()
            .map(|thread| thread.unwrap().join().unwrap())
            .collect()
    });
    let mut reached = Reached::new();
    for outcome in outcomes {
        if let Err(error) = outcome.result {
            panic!("ORCH_TEST_SEED={}: {error}", outcome.seed);
        }
        for (what, n) in outcome.reached {
            *reached.entry(what).or_default() += n;
        }
    }
    println!("{reached:#?}");
    if schedules() >= SCHEDULES {
        let missed = MUST_REACH.iter().filter(|what| !reached.contains_key(**what));
        assert_eq!(missed.collect::<Vec<_>>(), Vec::<&&str>::new(), "never came up");
    }
}

/// The schedules find this executor out by the operation that it does wrongly, within as many as are run anyway.
fn is_found_out(what: &'static str, executor: Executor, by: &str) {
    match Trial::new(what).run(vec![Database::sqlite(executor)]).result {
        Ok(()) => panic!("{what}: {} schedules found nothing wrong", schedules()),
        Err(TestError::Abort(why)) => panic!("{what}: {why}"),
        Err(TestError::Fail(why, shrunk)) => {
            assert!(why.message().contains(by), "{what}: {why}");
            eprintln!("{what}: found by {shrunk:#?}");
        }
    }
}

#[test]
fn an_end_without_the_claim_epoch_is_found_out() {
    is_found_out("without the epoch guard", Executor::WithoutEpoch, " Finish(");
}

#[test]
fn moving_a_task_before_the_claim_is_won_is_found_out() {
    is_found_out("act before claim", Executor::ActsFirst, " Advance {");
}
