//! `orch demo`: one task from request to delivery, on this machine, in under a minute, without a network.
//! A service of its own, a temporary home, a scripted agent. Never touches anything else of the person's.

pub mod api;
pub mod drive;
pub mod faults;
pub mod home;
pub mod sample;
pub mod show;
pub mod summary;
pub mod timeline;
pub mod verify;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::engine::views::{AddTask, QueueView, TaskDetail};
use crate::process::service::{ServiceChild, ServiceCommand};

use api::Api;
use drive::{Drive, Person};
use faults::{Faults, Survivor};
use home::Home;
use show::Show;
use summary::{Failure, Healed, Kept, LOG_LINES, StageRow, Summary};

/// How long the task may take when nobody has to be waited for. What follows fits into the rest of a minute.
const LIMIT: Duration = Duration::from_secs(50);
/// How long the service may take to become ready.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long the last job may take to be put away after the task is done.
const SETTLE_LIMIT: Duration = Duration::from_secs(3);
/// How long the service may take to end.
const END_GRACE: Duration = Duration::from_secs(5);
/// The exit code of a program that a person interrupted: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// Deliver one task in a sample repository, to see how Orch works.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DemoArgs {
    /// Wait for a person at the human gates instead of answering there.
    #[arg(long)]
    pub interactive: bool,
    /// Leave the service and its data for a look around.
    #[arg(long)]
    pub keep: bool,
    /// Kill an agent and the service, and let a monitor panic on the way, to see how each is healed.
    #[arg(long, conflicts_with = "interactive")]
    pub faults: bool,
    /// Print one JSON object per event, then one for the result.
    #[arg(long)]
    pub json: bool,
    /// Run on this PostgreSQL server, in a database of its own, instead of on SQLite:
    /// postgres://user@host/database.
    #[arg(
        long,
        value_name = "URL",
        env = "ORCH_DEMO_DATABASE_URL",
        hide_env_values = true
    )]
    pub database_url: Option<String>,
}

/// Runs the demo. Exit code 0 only when the task is done, `main` holds exactly one merge of it and its tests
/// pass there, and no job is left; 130 when interrupted; else 1.
///
/// # Errors
/// The demo could not begin: no folder, no git, no port.
pub fn run(args: DemoArgs, color: bool) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the demo's runtime")?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, demo(args, color))
}

async fn demo(args: DemoArgs, color: bool) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    // Before anything is written, so that an interruption always cleans up.
    let mut interruptions = Interruptions::listen()?;
    let home = Home::create(args.keep, args.database_url.as_deref())?;
    let command = command_line(&home)?;
    let fault = args.faults.then(|| faults::prepare(&home)).transpose()?;
    let mut service = start(&home, fault)?;
    let scene = Scene {
        began,
        home: &home,
        show: Show::new(args.json, color),
        args,
        api: Api::new(&home.address, home.token()),
        command,
    };
    let delivery = tokio::select! {
        biased;
        () = interruptions.next() => Delivery::interrupted(),
        delivery = scene.deliver(&mut service) => delivery,
    };
    if scene.args.faults {
        // One that has just been started again can end its agents only once it knows them.
        scene.wait_until_ready(&mut service).await.ok();
    }
    let log_tail = match delivery.interrupted {
        true => String::new(),
        false => service.log_tail(LOG_LINES),
    };
    let kept = scene.close(service)?;
    let code = delivery.exit_code();
    let summary = scene.judge(delivery, log_tail, kept).await;
    let code = if summary.ok { ExitCode::SUCCESS } else { code };
    scene.show.finish(&summary.text(color), &summary);
    Ok(code)
}

fn start(home: &Home, fault: Option<(&str, String)>) -> anyhow::Result<ServiceChild> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let mut env = home.environment();
    env.extend(fault.map(|(name, value)| (name.into(), value.into())));
    let args: [OsString; 3] = ["serve".into(), "--config".into(), home.config().into()];
    let service = ServiceChild::spawn(&ServiceCommand {
        program: &program,
        args: &args,
        env: &env,
        cwd: home.root(),
        log: &home.service_log(),
    })?;
    Ok(service)
}

fn command_line(home: &Home) -> anyhow::Result<String> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    Ok(format!(
        "{} --config {}",
        quoted(&program),
        quoted(&home.config())
    ))
}

/// Plain paths as they are, others in quotes that a shell takes off again.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The signals by which a person ends a program.
struct Interruptions([Signal; 3]);

impl Interruptions {
    fn listen() -> anyhow::Result<Self> {
        let on = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self([
            on(SignalKind::interrupt())?,
            on(SignalKind::terminate())?,
            on(SignalKind::hangup())?,
        ]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// What came of it, before it is judged.
#[derive(Default)]
struct Delivery {
    task: Option<TaskDetail>,
    queue: Option<QueueView>,
    stages: Vec<StageRow>,
    healed: Vec<Healed>,
    survivor: Option<Survivor>,
    stopped: Option<String>,
    interrupted: bool,
}

impl Delivery {
    fn interrupted() -> Self {
        Self {
            interrupted: true,
            stopped: Some("interrupted".into()),
            ..Self::default()
        }
    }

    fn exit_code(&self) -> ExitCode {
        if self.interrupted {
            ExitCode::from(INTERRUPTED)
        } else {
            ExitCode::FAILURE
        }
    }
}

/// Everything around one demo.
struct Scene<'a> {
    args: DemoArgs,
    began: Instant,
    home: &'a Home,
    show: Show,
    api: Api,
    command: String,
}

impl Scene<'_> {
    /// From a service that has just been started to a task that is done, or to what stopped it.
    async fn deliver(&self, service: &mut ServiceChild) -> Delivery {
        let mut delivery = Delivery::default();
        if let Err(error) = self.follow(service, &mut delivery).await {
            // A service that died is the cause of whatever else went wrong.
            tokio::time::sleep(Duration::from_millis(100)).await;
            delivery.stopped = Some(match service.exited() {
                Ok(Some(status)) => format!("the service ended by itself: {status}"),
                Ok(None) | Err(_) => format!("{error:#}"),
            });
        }
        delivery
    }

    async fn follow(&self, service: &mut ServiceChild, delivery: &mut Delivery) -> anyhow::Result<()> {
        self.wait_until_ready(service).await?;
        self.note(&format!("service ready at {}", self.api.base()));
        let task = AddTask {
            project: Some(sample::PROJECT.to_owned()),
            title: sample::TITLE.to_owned(),
            description: sample::DESCRIPTION.to_owned(),
            ..AddTask::default()
        };
        let id = self.api.add(&task).await?.id;
        self.note(&format!("{id} added: {}", sample::TITLE));
        delivery.task = Some(self.api.task(&id).await?);

        let mut drive = Drive::new(&self.api, &self.show, self.began, id.clone(), self.person());
        drive.limit = (!self.args.interactive).then_some(LIMIT);
        if self.args.faults {
            drive.faults = Some(Faults::new(
                (self.home, &self.api, &self.show),
                self.began,
                service,
            ));
        }
        let end = drive.to_the_end().await;
        if let Some(faults) = drive.faults.take() {
            (delivery.healed, delivery.survivor) = (faults.healed, faults.survivor);
        }
        delivery.queue = self.settled(end.is_ok()).await;
        // The last run is counted once it was put away.
        let latest = self.api.task(&id).await.ok().or(drive.latest.take());
        let runs = latest.as_ref().map_or(&[][..], |t| &t.runs);
        delivery.stages = drive.stages.table(runs).into_iter().map(Into::into).collect();
        delivery.task = latest.or(delivery.task.take());
        Ok(end?)
    }

    fn person(&self) -> Person {
        if !self.args.interactive {
            return Person::Demo;
        }
        Person::Real {
            // Whoever reads JSON is a program; it answers through the command line.
            typed: if self.args.json { None } else { show::typed() },
            command: self.command.clone(),
        }
    }

    async fn wait_until_ready(&self, service: &mut ServiceChild) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        let mut pause = Duration::from_millis(10);
        while !self.api.ready().await {
            if let Some(status) = service.exited()? {
                anyhow::bail!("the service ended before it was ready: {status}");
            }
            if Instant::now() >= deadline {
                anyhow::bail!("the service was not ready within {} s", START_LIMIT.as_secs());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(200));
        }
        Ok(())
    }

    /// The queue, after the last job had time to be put away.
    async fn settled(&self, done: bool) -> Option<QueueView> {
        let deadline = Instant::now() + if done { SETTLE_LIMIT } else { Duration::ZERO };
        loop {
            match self.api.queue().await {
                Ok(queue) if queue.live.is_empty() || Instant::now() >= deadline => return Some(queue),
                Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(_) => return None,
            }
        }
    }

    fn note(&self, text: &str) {
        self.show.note(self.began.elapsed(), text);
    }

    /// Ends the service, or leaves it to the person who asked for that.
    fn close(&self, mut service: ServiceChild) -> anyhow::Result<Option<Kept>> {
        if !self.args.keep {
            service.end(END_GRACE)?;
            return Ok(None);
        }
        let runs = service.exited()?.is_none();
        let pid = service.leave().filter(|_| runs);
        Ok(Some(Kept {
            home: quoted(self.home.root()),
            repository: quoted(&self.home.repository()),
            service: runs.then(|| self.api.base().to_owned()),
            pid,
            command: self.command.clone(),
        }))
    }

    async fn judge(&self, delivery: Delivery, log_tail: String, kept: Option<Kept>) -> Summary {
        let task = delivery.task.as_ref();
        let candidate = task.and_then(|t| t.task.candidate.as_deref());
        let mut checks = if delivery.interrupted {
            Vec::new()
        } else {
            vec![
                verify::task_is_done(task),
                verify::one_merge(self.home, candidate),
                verify::tests_pass(self.home).await,
                verify::no_job_is_left(delivery.queue.as_ref()),
            ]
        };
        if self.args.faults && !delivery.interrupted {
            checks.extend([
                faults::all_are_healed(&delivery.healed),
                faults::attempts_are_kept(task),
                faults::went_on(task, delivery.survivor.as_ref()),
            ]);
        }
        let failed = checks.iter().any(|c| !c.holds);
        let failure = match delivery.stopped {
            Some(what) => Some(Failure::of(what, task, log_tail)),
            None if failed => Some(Failure::of("something does not hold".into(), task, log_tail)),
            None => None,
        };
        Summary {
            r#type: "summary",
            ok: failure.is_none(),
            task: task.map(|t| t.task.id.clone()),
            stages: delivery.stages,
            healed: delivery.healed,
            checks,
            failure,
            total_ms: self.began.elapsed().as_millis(),
            kept,
        }
    }
}
