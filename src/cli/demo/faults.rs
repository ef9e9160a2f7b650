//! `--faults`: an agent is killed, a monitor panics, the service is killed; each time the demo waits for the service to
//! say that it is healed. Never heals anything itself, but for starting a service that is dead.

use std::time::{Duration, Instant};

use anyhow::Context;

use crate::actors::fault::MONITOR_PANIC;
use crate::domain::pipeline::Role;
use crate::domain::run::ProcessIdentity;
use crate::engine::views::{HealingView, RunView, TaskDetail};
use crate::process::service::ServiceChild;
use crate::process::{self, Liveness};

use super::api::Api;
use super::home::Home;
use super::show::Show;
use super::summary::{Check, Healed, milliseconds};
use super::{sample, start};

/// How long a fault may take to be provoked and healed.
const HEALED_WITHIN: Duration = Duration::from_secs(15);
/// Between two looks; the precision of what the demo itself measures.
const LOOK: Duration = Duration::from_millis(5);

/// What is done, in this order.
const PLAN: [(Role, Fault); 3] = [
    (Role::Analyst, Fault::KillAgent),
    (Role::Architect, Fault::MonitorPanic),
    (Role::Developer, Fault::KillService),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    KillAgent,
    MonitorPanic,
    KillService,
}

/// An agent that was alive over the death of its service.
#[derive(Clone, Debug)]
pub struct Survivor {
    run: i64,
    job: i64,
    process: ProcessIdentity,
    alive: bool,
}

/// The faults of one demo.
pub struct Faults<'a> {
    home: &'a Home,
    api: &'a Api,
    show: &'a Show,
    began: Instant,
    service: &'a mut ServiceChild,
    next: usize,
    /// What was healed so far.
    pub healed: Vec<Healed>,
    /// Who was alive when the service was not.
    pub survivor: Option<Survivor>,
}

/// Before the service starts: lets agents wait for their fault, and says what the service is to be asked for.
///
/// # Errors
/// The home cannot be written.
pub fn prepare(home: &Home) -> anyhow::Result<(&'static str, String)> {
    for (role, _) in PLAN {
        home.hold(role)?;
    }
    home.allow_faults()?;
    Ok((MONITOR_PANIC, format!("{}-001 architecture 1", sample::PREFIX)))
}

impl<'a> Faults<'a> {
    /// Begins before the first one.
    pub fn new(
        (home, api, show): (&'a Home, &'a Api, &'a Show),
        began: Instant,
        service: &'a mut ServiceChild,
    ) -> Self {
        Self {
            home,
            api,
            show,
            began,
            service,
            next: 0,
            healed: Vec::new(),
            survivor: None,
        }
    }

    /// Does the next one when its agent is at work, and waits until it is healed.
    ///
    /// # Errors
    /// It is not healed in time.
    pub async fn strike(&mut self, detail: &TaskDetail) -> anyhow::Result<()> {
        let Some((role, fault)) = PLAN.get(self.next).copied() else {
            return Ok(());
        };
        let at_work =
            |run: &&RunView| run.role.as_deref() == Some(role.as_str()) && run.finished_at.is_none();
        let Some(run) = detail.runs.iter().find(at_work) else {
            return Ok(());
        };
        let healed = match fault {
            Fault::KillAgent => self.kill_agent(role).await?,
            Fault::MonitorPanic => self.monitor_panic().await?,
            Fault::KillService => self.kill_service(role, run).await?,
        };
        self.home.release(role)?;
        self.next += 1;
        self.note(&format!(
            "healed in {}: {}",
            milliseconds(healed.took_ms),
            healed.done
        ));
        self.healed.push(healed);
        Ok(())
    }

    async fn kill_agent(&mut self, role: Role) -> anyhow::Result<Healed> {
        let pid = self.agent(role, None).await?;
        let agent = process::identity_of(pid)?;
        self.note(&format!("kill -9 {pid}: the {role}'s agent"));
        let killed = Instant::now();
        process::kill(&agent)?;
        let told = self.told("monitor").await?;
        let next = self.agent(role, Some(pid)).await?;
        Ok(Healed {
            fault: format!("the {role}'s agent was killed with signal 9"),
            noticed: told.why,
            done: format!("{}: agent {next} instead of {pid}", told.action),
            took_ms: killed.elapsed().as_millis(),
        })
    }

    /// The service does it to itself, as it was asked to at its start.
    async fn monitor_panic(&mut self) -> anyhow::Result<Healed> {
        let told = self.told("supervisor").await?;
        let took = told
            .stuck_ms
            .context("the service does not say how long it took")?;
        Ok(Healed {
            fault: "a monitor panicked".into(),
            noticed: told.why,
            done: told.action,
            took_ms: u128::try_from(took).unwrap_or(0),
        })
    }

    async fn kill_service(&mut self, role: Role, run: &RunView) -> anyhow::Result<Healed> {
        let pid = self.agent(role, None).await?;
        let agent = process::identity_of(pid)?;
        let service = self.service.pid().unwrap_or_default();
        self.note(&format!("kill -9 {service}: the service, while the {role} works"));
        let killed = Instant::now();
        // Nothing is awaited in between: a demo that is interrupted has a service to end.
        self.service.kill()?;
        *self.service = start(self.home, None)?;
        let told = self.told("start").await?;
        let took = killed.elapsed();
        let alive = process::is_alive(&agent) == Liveness::Alive;
        self.survivor = Some(Survivor {
            run: run.id,
            job: run.job,
            process: agent,
            alive,
        });
        Ok(Healed {
            fault: "the service was killed with signal 9".into(),
            noticed: told.why,
            done: format!("started again: {}", told.action),
            took_ms: took.as_millis(),
        })
    }

    /// An agent of this role that waits, other than the one that is known.
    async fn agent(&self, role: Role, known: Option<i32>) -> anyhow::Result<i32> {
        let deadline = Instant::now() + HEALED_WITHIN;
        loop {
            if let Some(pid) = self.home.held(role).filter(|pid| Some(*pid) != known) {
                return Ok(pid);
            }
            anyhow::ensure!(Instant::now() < deadline, "no agent of the {role} came to work");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What the service tells of a healing of this kind. It may be on its way up.
    async fn told(&mut self, kind: &str) -> anyhow::Result<HealingView> {
        let deadline = Instant::now() + HEALED_WITHIN;
        loop {
            let told = self.api.healed().await.unwrap_or_default();
            if let Some(found) = told.into_iter().find(|h| h.kind == kind) {
                return Ok(found);
            }
            if let Some(status) = self.service.exited()? {
                anyhow::bail!("the service ended by itself: {status}");
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "the service told of no healing by the {kind} within {} s",
                HEALED_WITHIN.as_secs()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    fn note(&self, text: &str) {
        self.show.note(self.began.elapsed(), text);
    }
}

/// All were provoked and healed.
pub fn all_are_healed(healed: &[Healed]) -> Check {
    Check {
        name: "every fault was healed",
        holds: healed.len() == PLAN.len(),
        found: format!("{} of {}", healed.len(), PLAN.len()),
    }
}

/// Deaths of the service and of monitors cost nothing; the agent that was killed cost one attempt.
pub fn attempts_are_kept(task: Option<&TaskDetail>) -> Check {
    let killed = |role: &str| {
        PLAN.iter()
            .any(|(r, fault)| r.as_str() == role && *fault == Fault::KillAgent)
    };
    let jobs = task.map_or(&[][..], |t| &t.jobs);
    let agents = jobs.iter().filter_map(|job| Some((job, job.role.as_deref()?)));
    let wrong: Vec<_> = agents
        .filter(|(job, role)| job.attempts != if killed(role) { 2 } else { 1 })
        .map(|(job, role)| format!("job {} ({role}) took {} attempts", job.id, job.attempts))
        .collect();
    let holds = wrong.is_empty() && !jobs.is_empty();
    Check {
        name: "no attempt was spent but for the killed agent",
        holds,
        found: match holds {
            true => "2 attempts of the analyst, 1 of everybody else".into(),
            false => wrong.join(", "),
        },
    }
}

/// The agent that was alive over the kill went on, and nobody was started beside it.
pub fn went_on(task: Option<&TaskDetail>, survivor: Option<&Survivor>) -> Check {
    let name = "the agent that outlived the service was not started again";
    let (Some(task), Some(s)) = (task, survivor) else {
        return Check {
            name,
            holds: false,
            found: "the service was not killed".into(),
        };
    };
    let runs: Vec<_> = task.runs.iter().filter(|run| run.job == s.job).collect();
    let holds = s.alive && matches!(runs[..], [only] if only.id == s.run && only.error.is_none());
    let ids: Vec<_> = runs.iter().map(|run| run.id.to_string()).collect();
    Check {
        name,
        holds,
        found: format!(
            "run {} with process {}, {} when the service was back; runs of its job: {}",
            s.run,
            s.process.pid,
            if s.alive { "alive" } else { "gone" },
            ids.join(", ")
        ),
    }
}
