//! What the answer to a failure costs, and what it is worth. First the time to match fifty rules against 64 KiB of
//! output, beside the same fifty patterns tried one after the other. Then the founding incident once more: 297 jobs
//! whose agents are ended for their time limit, each tried again blindly, and answered by rules, budgets and breaker.
//! `cargo bench --bench repair`
//!
//! Of the incident everything is decided by the domain's own functions; only the agents and the clock are simulated.
//! Each agent needs more time than the limit of its first attempt, `limit * (1 + x)`, x from an exponential
//! distribution of mean 0.5 with a fixed seed: 63 in 100 would end within half as long again. An attempt ends with
//! exit 143 at its limit, or well when it had the time it needs.
#![expect(clippy::print_stdout, reason = "its table is what it is for")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use orch::domain::classify::classify;
use orch::domain::pipeline::Role;
use orch::domain::repair::plan::{Situation, plan};
use orch::domain::repair::settle::{Budget, Ends, settle};
use orch::domain::repair::{ErrorText, Fingerprint, OUTPUT_TAIL, Rules, SHIPPED};
use orch::domain::retry::{Breaker, Change, Counts, Gate, WINDOW};
use orch::domain::time::Timestamp;
use orch::settings::{LoadOptions, Settings};
use regex::bytes::{Regex, RegexBuilder};
use serde_json::json;

const RULES: usize = 50;
const MATCHES: usize = 200;
/// Milliseconds that a match may take.
const LIMIT: f64 = 1.0;

const JOBS: usize = 297;
const SEED: u64 = 297;
/// Agents at once.
const SLOTS: usize = 4;
/// Attempts of a job that is tried again blindly: as many as the retries of a task allow.
const BLIND: u32 = 4;

fn main() -> Result<()> {
    let held = matching()?;
    incident()?;
    ensure!(held, "a target was missed");
    Ok(())
}

// --- matching

fn matching() -> Result<bool> {
    let patterns = patterns()?;
    let rules = Rules::parse(&file(&patterns)).context("the rules")?;
    let each: Vec<Regex> = patterns
        .iter()
        .map(|pattern| {
            RegexBuilder::new(pattern)
                .case_insensitive(true)
                .multi_line(true)
                .unicode(false)
                .build()
        })
        .collect::<Result<_, _>>()?;
    println!(
        "{:<46} {:>8} {:>8} {:>8}  target p50 <= {LIMIT} ms",
        "milliseconds per match, 50 rules x 64 KiB", "p10", "p50", "p90"
    );
    let ascii = "[12:01:07] test api::orders ... ok (14 ms), 3 of 120, see target/log/orders.txt\n";
    let other = "[12:01:07] тест api::заказы … пройден (14 мс), naïve café ✓, 3 из 120\n";
    let last = "tool-49 gave up: no way 49\n";
    let mut held = true;
    for (kind, line) in [("ASCII", ascii), ("not ASCII", other)] {
        for (what, end, expected) in [("hit of the last", last, "rule-49"), ("miss", "", "none")] {
            let output = line.repeat(OUTPUT_TAIL / line.len() + 1) + end;
            let text = ErrorText::new("exit code 1", &output);
            ensure!(text.as_str().len() > OUTPUT_TAIL - 100, "the output is shorter");
            ensure!(
                rules.matching(&text, None).strategy == expected,
                "another rule matched"
            );
            let set = timed(|| rules.matching(&text, None).strategy.len());
            let bytes = text.as_str().as_bytes();
            let alone = timed(|| {
                each.iter()
                    .position(|pattern| pattern.is_match(bytes))
                    .unwrap_or(RULES)
            });
            held &= set[MATCHES / 2] <= LIMIT;
            row(&format!("{kind}, {what}: in one pass"), &set);
            row(&format!("{kind}, {what}: one after the other"), &alone);
        }
    }
    Ok(held)
}

/// Those of the rules that come with Orch, and as many more as it takes.
fn patterns() -> Result<Vec<String>> {
    let shipped = Rules::parse(SHIPPED)?;
    let mut found: Vec<String> = shipped
        .strategies()
        .iter()
        .filter_map(|s| s.pattern.clone())
        .collect();
    for n in found.len()..RULES {
        found.push(format!(
            r"\btool-{n}\b[^\n]{{0,40}}\bno way {n}\b|^fatal{n}: (?:cannot|could not) \w+|\bE{n}[0-9]{{3}}\b"
        ));
    }
    Ok(found)
}

fn file(patterns: &[String]) -> String {
    let mut text = String::from("{\"strategies\": {");
    for (n, pattern) in patterns.iter().enumerate() {
        let comma = if n == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}\"rule-{n}\": {{\"pattern\": {}}}", json!(pattern));
    }
    text + "}}"
}

/// Milliseconds, sorted.
fn timed(mut work: impl FnMut() -> usize) -> Vec<f64> {
    std::hint::black_box(work());
    let mut found: Vec<f64> = (0..MATCHES)
        .map(|_| {
            let begun = Instant::now();
            std::hint::black_box(work());
            begun.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    found.sort_by(f64::total_cmp);
    found
}

fn row(what: &str, sorted: &[f64]) {
    let [p10, p50, p90] = [10, 50, 90].map(|part| sorted[sorted.len() * part / 100]);
    println!("{what:<46} {p10:>8.3} {p50:>8.3} {p90:>8.3}");
}

// --- the incident

#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    /// Again as it was.
    Blind,
    /// The rules' answer; nothing is counted in the scope.
    RulesAlone,
    /// The rules' answer within the budgets and the breaker of the project, as the settings are by default.
    Everything,
}

struct Job {
    needs: Duration,
    percent: u32,
    attempts: u32,
    retries: u32,
    seen: BTreeMap<String, u32>,
    not_before: Timestamp,
    stands: Stands,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    Queued,
    Running { until: Timestamp, trial: bool },
    Well,
    Blocked,
}

#[derive(Default)]
struct Tally {
    attempts: usize,
    agent_time: Duration,
    opened: Option<(usize, Timestamp)>,
    openings: usize,
    reopenings: usize,
    refused: BTreeMap<&'static str, usize>,
    /// Failures that the breaker let cost nothing.
    free: usize,
}

struct Incident {
    settings: Settings,
    rules: Rules,
    policy: Policy,
    jobs: Vec<Job>,
    breaker: Breaker,
    retried: Vec<Timestamp>,
    now: Timestamp,
    tally: Tally,
}

fn incident() -> Result<()> {
    println!(
        "\n{JOBS} jobs that end in exit 143, {SLOTS} agents at once, {} s and a cap of {} s\n{:<34} {:>8} {:>7} {:>6} {:>8} {:>8} {:>8} {:>9} {:>7}",
        settings()?.agent.timeout.as_secs(),
        settings()?.agent.timeout_cap.as_secs(),
        "",
        "attempts",
        "hours",
        "well",
        "blocked",
        "opened",
        "at min",
        "reopened",
        "days"
    );
    for (name, policy) in [
        ("blind retry", Policy::Blind),
        ("increase_timeout, no budget", Policy::RulesAlone),
        ("rules, budgets and breaker", Policy::Everything),
    ] {
        let mut told = Incident::new(policy)?;
        told.play()?;
        told.row(name);
    }
    Ok(())
}

fn settings() -> Result<Settings> {
    let options = LoadOptions {
        config_file: None,
        env: Vec::new(),
        cwd: std::env::temp_dir(),
    };
    Ok(Settings::load(options)?.0)
}

impl Incident {
    fn new(policy: Policy) -> Result<Self> {
        let settings = settings()?;
        let mut seed = SEED;
        let job = |_| Job {
            needs: settings
                .agent
                .timeout
                .mul_f64(1.0 - 0.5 * (1.0 - uniform(&mut seed)).ln()),
            percent: 100,
            attempts: 0,
            retries: 0,
            seen: BTreeMap::new(),
            not_before: Timestamp(0),
            stands: Stands::Queued,
        };
        Ok(Self {
            jobs: (0..JOBS).map(job).collect(),
            rules: Rules::parse(SHIPPED)?,
            settings,
            policy,
            breaker: Breaker::default(),
            retried: Vec::new(),
            now: Timestamp(0),
            tally: Tally::default(),
        })
    }

    fn play(&mut self) -> Result<()> {
        loop {
            self.claim();
            let Some(next) = self.next_event() else {
                let left = self.jobs.iter().filter(|j| j.stands == Stands::Queued).count();
                ensure!(left == 0, "{left} jobs wait for nothing");
                return Ok(());
            };
            self.now = next;
            for n in 0..self.jobs.len() {
                if let Stands::Running { until, .. } = self.jobs[n].stands
                    && until <= self.now
                {
                    self.ends(n);
                }
            }
        }
    }

    fn gate(&self) -> Gate {
        self.breaker.gate(self.settings.retry.half_open, self.now)
    }

    fn running(&self) -> impl Iterator<Item = (Timestamp, bool)> {
        self.jobs.iter().filter_map(|job| match job.stands {
            Stands::Running { until, trial } => Some((until, trial)),
            Stands::Queued | Stands::Well | Stands::Blocked => None,
        })
    }

    /// The oldest first, as many as there are slots and the breaker lets through.
    fn claim(&mut self) {
        loop {
            let (gate, busy) = (self.gate(), self.running().count());
            let on_trial = self.running().any(|(_, trial)| trial);
            let free = match gate {
                Gate::Closed => busy < SLOTS,
                Gate::HalfOpen => busy < SLOTS && !on_trial,
                Gate::Open(_) => false,
            };
            let now = self.now;
            let first = self
                .jobs
                .iter_mut()
                .find(|job| job.stands == Stands::Queued && job.not_before <= now);
            let Some(job) = first.filter(|_| free) else { return };
            let limit = self.settings.agent.timeout * job.percent / 100;
            let takes = limit.min(self.settings.agent.timeout_cap).min(job.needs);
            job.attempts += 1;
            job.stands = Stands::Running {
                until: now + takes,
                trial: gate == Gate::HalfOpen,
            };
            self.tally.attempts += 1;
            self.tally.agent_time += takes;
        }
    }

    fn next_event(&self) -> Option<Timestamp> {
        let ends = self.running().map(|(until, _)| until);
        let waits = self
            .jobs
            .iter()
            .filter(|job| job.stands == Stands::Queued)
            .map(|job| job.not_before);
        let opens = match self.gate() {
            Gate::Open(at) => Some(at),
            Gate::Closed | Gate::HalfOpen => None,
        };
        ends.chain(waits).chain(opens).filter(|at| *at > self.now).min()
    }

    fn ends(&mut self, n: usize) {
        let limit =
            (self.settings.agent.timeout * self.jobs[n].percent / 100).min(self.settings.agent.timeout_cap);
        if self.jobs[n].needs <= limit {
            self.jobs[n].stands = Stands::Well;
            self.breaker = self.breaker.succeeded().0;
            return;
        }
        match self.policy {
            Policy::Blind if self.jobs[n].attempts < BLIND => self.jobs[n].stands = Stands::Queued,
            Policy::Blind => self.jobs[n].stands = Stands::Blocked,
            Policy::RulesAlone | Policy::Everything => self.answer(n, limit),
        }
    }

    /// As the engine answers a failure.
    fn answer(&mut self, n: usize, limit: Duration) {
        let ended = format!("exit code 143 SIGTERM (timeout after {}s)", limit.as_secs());
        let text = ErrorText::new(&ended, "still reading the tests of the order service\n");
        let found = self.rules.matching(&text, Some(Role::Developer));
        let class = classify(&text, &found);
        let job = &mut self.jobs[n];
        let seen = job
            .seen
            .entry(Fingerprint::of(&found, &text).as_str().to_owned())
            .or_default();
        *seen += 1;
        let situation = Situation {
            slots: 1,
            others: false,
            timeout_percent: job.percent,
            timeout: self.settings.agent.timeout,
            timeout_cap: self.settings.agent.timeout_cap,
            resets_at: None,
            passes: false,
            repeated: *seen,
        };
        let plan = plan(&found, &text, &situation, self.settings.repair.terms, self.now);
        let mut limits = self.settings.retry;
        if self.policy == Policy::RulesAlone {
            (limits.scope, limits.failures) = (u32::MAX, u32::MAX);
        }
        let day = self
            .retried
            .iter()
            .filter(|at| self.now.since(**at) < WINDOW)
            .count();
        let attempts = i32::try_from(job.attempts).unwrap_or(i32::MAX);
        let spent = attempts >= self.settings.queue.max_attempts;
        let budget = Budget {
            limits,
            counts: Counts {
                scope: u32::try_from(day).unwrap_or(u32::MAX),
                task: job.retries,
                attempts_spent: spent && self.policy == Policy::Everything,
            },
            breaker: self.breaker,
            class,
            attempts,
            transient: 0,
            max_transient: self.settings.queue.max_transient_attempts,
            retry_delay: self.settings.queue.retry_delay,
        };
        let settled = settle(&plan, &budget, self.now);
        if let Some((breaker, change)) = settled.breaker {
            self.breaker = breaker;
            match change {
                Change::Opened => {
                    self.tally.openings += 1;
                    self.tally.opened.get_or_insert((self.tally.attempts, self.now));
                }
                Change::Reopened => self.tally.reopenings += 1,
                Change::Stays | Change::Closed => {}
            }
        }
        job.percent = match settled.ends {
            Ends::Retry(_) | Ends::TriedInVain(_) | Ends::Held(_) => {
                plan.timeout_percent.unwrap_or(job.percent)
            }
            Ends::Parked(_) | Ends::Transient(_) | Ends::Failed => job.percent,
        };
        (job.stands, job.not_before) = match settled.ends {
            Ends::Retry(at) => {
                self.retried.push(self.now);
                job.retries += 1;
                (Stands::Queued, at)
            }
            Ends::TriedInVain(at) => (Stands::Queued, at),
            Ends::Held(at) | Ends::Parked(at) | Ends::Transient(at) => {
                self.tally.free += 1;
                job.attempts -= 1;
                (Stands::Queued, at)
            }
            Ends::Failed => {
                let reason = settled.decision.reason.as_str();
                *self.tally.refused.entry(reason).or_default() += 1;
                (Stands::Blocked, self.now)
            }
        };
    }

    fn row(&self, name: &str) {
        let count = |stands| self.jobs.iter().filter(|job| job.stands == stands).count();
        let (after, at) = match self.tally.opened {
            Some((attempts, at)) => (
                attempts.to_string(),
                (at.since(Timestamp(0)).as_secs() / 60).to_string(),
            ),
            None => ("never".to_owned(), "-".to_owned()),
        };
        let hours = self.tally.agent_time.as_secs_f64() / 3600.0;
        let days = self.now.since(Timestamp(0)).as_secs_f64() / 86_400.0;
        println!(
            "{name:<34} {:>8} {hours:>7.0} {:>6} {:>8} {after:>8} {at:>8} {:>9} {days:>7.1}",
            self.tally.attempts,
            count(Stands::Well),
            count(Stands::Blocked),
            self.tally.reopenings
        );
        if self.tally.openings > 0 || !self.tally.refused.is_empty() {
            let refused: Vec<String> = self
                .tally
                .refused
                .iter()
                .map(|(reason, times)| format!("{reason} {times}"))
                .collect();
            println!(
                "  opened {} times; {} failures cost no attempt; blocked by {}",
                self.tally.openings,
                self.tally.free,
                refused.join(", ")
            );
        }
    }
}

/// The next number of a seeded sequence (splitmix64, Steele, Lea and Flood 2014), from 0 up to 1.
fn uniform(seed: &mut u64) -> f64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let fraction = ((z ^ (z >> 31)) >> 11) as f64;
    fraction / 9_007_199_254_740_992.0
}
