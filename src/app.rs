//! Composition root: the only file that knows everything. Puts the parts together, runs them, takes them apart.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use slog::{Drain, o};
use slog_scope::{info, warn};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::actors::fault::MonitorPanic;
use crate::actors::heartbeat::Look;
use crate::actors::supervisor::{Escalation, Intensity, Supervisor, SupervisorConfig};
use crate::actors::{AddressBook, hints, now};
use crate::agents::{Presets, Prices};
use crate::domain::host;
use crate::domain::id::{InstanceId, ProjectId, ProjectName};
use crate::engine::instances::{self, Enrolled};
use crate::engine::run::{claim_of, run_dir};
use crate::engine::{Engine, Parts, ProjectHandle, spare};
use crate::http::{self, ActorView, Healing, Sources};
use crate::process::{self, RunState};
use crate::settings::project::Project;
use crate::settings::{LogFormat, LogLevel, Settings, ShutdownMode, Warning, data_dir};
use crate::store::{Store, StoreError, duties, instances as rows, jobs, projects};

/// How long an orderly stop may take before what is left is left to the next start.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at another service of the same node.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs the service until it is asked to stop.
///
/// # Errors
/// What keeps it from starting, one line each: the data directory, the database, the address.
pub fn serve(settings: Settings, projects: Vec<Project>, warnings: Vec<Warning>) -> anyhow::Result<ExitCode> {
    let logging = Logging::start(&settings);
    for warning in &warnings {
        warn!("{}", warning);
    }
    let runner = actix_rt::System::new();
    let served = runner.block_on(run(settings, projects, logging.flusher()));
    drop(logging);
    served
}

async fn run(
    settings: Settings,
    projects: Vec<Project>,
    flush: impl Fn() + Send + Sync + 'static,
) -> anyhow::Result<ExitCode> {
    let settings = Arc::new(settings);
    for (key, folder) in [
        ("data_dir", &settings.data_dir),
        ("repos_dir", &settings.repos_dir),
    ] {
        let usable = data_dir::ensure(folder).and_then(|()| data_dir::probe(folder));
        usable.with_context(|| {
            let shown = folder.display();
            format!("{key} {shown} cannot be written: give this user the right, or choose another {key}")
        })?;
    }
    let fault = MonitorPanic::asked_for(&settings.data_dir)?;
    let presets = Presets::load(settings.agent.presets_file.as_deref())?;
    let prices = Prices::load(settings.budget.prices_file.as_deref())?;
    let store = Store::open(&settings.database.url)?;
    let instance = InstanceId::trusted(uuid::Uuid::new_v4().to_string());
    take_place(&store, &settings, &instance).await?;
    let (handles, names) = enroll(&store, &settings, projects).await?;
    let (sender, receiver) = mpsc::unbounded_channel();
    let engine = Engine::new(Parts {
        store: store.clone(),
        settings: settings.clone(),
        projects: handles.clone(),
        names,
        instance: instance.clone(),
        exe: std::env::current_exe().context("the program's own path cannot be found")?,
        presets,
        prices,
        hints: sender,
        clock: Arc::new(now),
    });
    let beat = instances::beat(&engine)
        .await
        .context("the database does not hear this service")?;
    if beat.ahead_us.unsigned_abs() > host::SKEW.as_micros() as u64 {
        warn!(
            "this machine's clock differs from the database's by {} s: set it right",
            beat.ahead_us / 1_000_000
        );
    }
    let config = SupervisorConfig {
        ping: Some(settings.supervisor.ping),
        ..SupervisorConfig::default()
    };
    let supervisor = Supervisor::start(config, Escalation::exit(flush));
    let book = AddressBook::new(engine.clone(), supervisor.clone()).with_fault(fault);
    let (server, address) = http::server(engine.clone(), sources(&book), &settings)?;
    let serving = server.handle();
    let server = actix_rt::spawn(server);
    actix_rt::spawn(hints::forward(receiver, book.clone()));
    let intensity = Intensity {
        restarts: settings.supervisor.restarts,
        within: settings.supervisor.window,
    };
    book.start(intensity)?;
    let (told, looks) = (engine.clone(), book.heartbeat.clone());
    let _listener = store.listen(move || {
        told.committed();
        looks.do_send(Look);
    })?;
    handles
        .into_values()
        .for_each(|project| open_ahead(engine.clone(), project));
    info!("listening on http://{}", address; "instance" => instance.as_str(), "version" => env!("CARGO_PKG_VERSION"));

    wait_for_stop().await?;
    info!("stopping"; "shutdown" => format!("{:?}", shutdown_mode(&settings)));
    stop_work(&engine, &book, shutdown_mode(&settings)).await;
    serving.stop(true).await;
    let _ = server.await;
    for name in supervisor.stop_all(PATIENCE).await {
        warn!("{} had not stopped in time: left to the next start", name);
    }
    let (gone, at) = (instance.clone(), engine.now());
    let left = store.write(move |tx| {
        duties::release(tx, &gone, at)?;
        rows::stop(tx, &gone, at)
    });
    // The next start, or the others, find out by themselves.
    drop(left.await);
    store.close().await;
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Clones before the first task needs it, and says early what keeps a project from working. Nobody waits for it.
fn open_ahead(engine: Engine, project: Arc<ProjectHandle>) {
    actix_rt::spawn(async move {
        let (name, file) = (project.config.name.clone(), project.config.source.clone());
        let id = project.id;
        let opened =
            tokio::task::spawn_blocking(move || project.repository()?.finish_interrupted_merge().map(drop));
        if let Ok(Err(e)) = opened.await {
            warn!(
                "project {} ({}) cannot work until this is mended: {}",
                name,
                file.display(),
                e
            );
        } else if let Err(e) = spare::provide(&engine, id).await {
            warn!("project {}: no spare worktree: {}", name, e);
        }
    });
}

/// Gives this boot its row. Where another boot of this node may still live on a machine or in a container that cannot be
/// looked into from here, waits until it has been silent for too long.
async fn take_place(store: &Store, settings: &Settings, instance: &InstanceId) -> anyhow::Result<()> {
    let ttl = settings.instance.ttl;
    let mut first = None;
    loop {
        let enrolled = instances::enroll(store, instance, settings, now()).await?;
        let Enrolled::Wait {
            other,
            heard_at,
            silent,
        } = enrolled
        else {
            return Ok(());
        };
        let node = settings.node.as_str();
        match &first {
            Some(seen) if *seen != (other.clone(), heard_at) => anyhow::bail!(
                "node {node:?} has a service already, on another machine or in another container: stop that one, or give this one another `node` and `data_dir`"
            ),
            Some(_) => {}
            None => {
                let left = ttl.saturating_sub(silent).as_secs();
                warn!(
                    "a service of node {:?} was heard {} s ago on another machine, in another container or before a reboot: waiting {} s to see whether it is gone",
                    node,
                    silent.as_secs(),
                    left
                );
                first = Some((other, heard_at));
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Gives each project its row.
async fn enroll(
    store: &Store,
    settings: &Arc<Settings>,
    configs: Vec<Project>,
) -> anyhow::Result<(
    BTreeMap<ProjectId, Arc<ProjectHandle>>,
    BTreeMap<ProjectId, ProjectName>,
)> {
    let at = now();
    let named: Vec<_> = configs
        .iter()
        .map(|p| (p.name.clone(), p.prefix.clone()))
        .collect();
    let (rows, known) = store
        .write(move |tx| {
            let rows = named
                .iter()
                .map(|(name, prefix)| projects::ensure(tx, name, prefix, at))
                .collect::<Result<Vec<_>, StoreError>>()?;
            Ok::<_, StoreError>((rows, projects::all(tx)?))
        })
        .await?;
    let mut handles = BTreeMap::new();
    for (row, config) in rows.into_iter().zip(configs) {
        let source = config.source.display().to_string();
        let handle = ProjectHandle::new(row.id, config, settings).with_context(|| source)?;
        handles.insert(row.id, Arc::new(handle));
    }
    Ok((handles, known.into_iter().map(|row| (row.id, row.name)).collect()))
}

fn sources(book: &AddressBook) -> Sources {
    let (supervisor, engine, monitors) = (book.supervisor.clone(), book.engine.clone(), book.clone());
    let instance = engine.instance().to_string();
    Sources {
        actors: Arc::new(move || {
            let view = |s: crate::actors::supervisor::ChildStats| ActorView {
                name: s.name,
                incarnation: s.incarnation,
                restarts: s.restarts,
                last_cause: s.last_cause,
                up_since: s.up_since.map_or_else(|| "down".to_owned(), |t| t.to_string()),
            };
            supervisor.stats().into_iter().map(view).collect()
        }),
        healing: Arc::new(move || Healing::of(&engine)),
        watched: Arc::new(move |claim| monitors.monitor_of(claim).is_some()),
        instance,
    }
}

async fn wait_for_stop() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    // A person who asks twice does not want to wait for order.
    actix_rt::spawn(async move {
        interrupt.recv().await;
        std::process::exit(130);
    });
    Ok(())
}

/// Agents that would end together with the service's container cannot be left to the next start.
fn shutdown_mode(settings: &Settings) -> ShutdownMode {
    match settings.shutdown {
        ShutdownMode::Leave if process::init::is_above() => ShutdownMode::Drain,
        mode @ (ShutdownMode::Leave | ShutdownMode::Drain | ShutdownMode::Stop) => mode,
    }
}

/// What happens to running work: left under its shims, waited for, or stopped with its work kept.
async fn stop_work(engine: &Engine, book: &AddressBook, mode: ShutdownMode) {
    book.stop_claiming();
    let agent = &engine.settings().agent;
    let patience = match mode {
        ShutdownMode::Leave => return,
        ShutdownMode::Drain => agent.timeout_cap,
        ShutdownMode::Stop => agent.kill_grace + PATIENCE,
    };
    let deadline = Instant::now() + patience;
    let mut changed = engine.changed();
    while book.monitor_count() > 0 && Instant::now() < deadline {
        if mode == ShutdownMode::Stop {
            // Again and again: one that was just being started could not be asked before.
            stop_agents(engine).await;
        }
        let _ = tokio::time::timeout(Duration::from_secs(1), changed.changed()).await;
    }
}

/// Every shim of a running job is asked to end its tree; its exit then says that Orch stopped it, which costs
/// no attempt.
async fn stop_agents(engine: &Engine) {
    let running = engine.store().read(|tx| jobs::running(tx, None, 10_000)).await;
    let Ok(running) = running else { return };
    let own = |job: &&crate::domain::job::Job| job.node.as_ref() == Some(&engine.settings().node);
    for job in running.rows.iter().filter(own) {
        // Not by what is recorded: the agent may have been started a moment ago.
        let asked = match process::look(&run_dir(engine, claim_of(job)), None) {
            Ok(RunState::Running(shim)) => process::stop(&shim).map(drop),
            Ok(RunState::NotLaunched | RunState::Ended(_) | RunState::Lost(_) | RunState::Elsewhere(_)) => {
                Ok(())
            }
            Err(e) => Err(e),
        };
        if let Err(e) = asked {
            warn!("the agent of job {} could not be asked to stop: {}", job.id, e);
        }
    }
}

/// The log, with the events of the libraries; its guards end it in order.
struct Logging {
    drain: Arc<std::sync::Mutex<Option<slog_async::AsyncGuard>>>,
    _scope: slog_scope::GlobalLoggerGuard,
}

impl Logging {
    fn start(settings: &Settings) -> Self {
        let json = match settings.log.format {
            LogFormat::Json => true,
            LogFormat::Text => false,
            LogFormat::Auto => !std::io::IsTerminal::is_terminal(&std::io::stderr()),
        };
        let level = match settings.log.level {
            LogLevel::Error => slog::Level::Error,
            LogLevel::Warn => slog::Level::Warning,
            LogLevel::Info => slog::Level::Info,
            LogLevel::Debug => slog::Level::Debug,
            LogLevel::Trace => slog::Level::Trace,
        };
        // Under load a line waits; it is not dropped.
        let (drain, guard) = if json {
            let lines = slog_json::Json::default(std::io::stderr()).fuse();
            build(lines, level)
        } else {
            let decorator = slog_term::TermDecorator::new().stderr().build();
            build(slog_term::FullFormat::new(decorator).build().fuse(), level)
        };
        let scope = slog_scope::set_global_logger(slog::Logger::root(drain, o!()));
        let _ = slog_stdlog::init_with_level(match settings.log.level {
            LogLevel::Debug | LogLevel::Trace => log::Level::Debug,
            LogLevel::Error | LogLevel::Warn | LogLevel::Info => log::Level::Warn,
        });
        Self {
            drain: Arc::new(std::sync::Mutex::new(Some(guard))),
            _scope: scope,
        }
    }

    /// Waits until what was logged is written.
    fn flusher(&self) -> impl Fn() + Send + Sync + 'static {
        let drain = self.drain.clone();
        move || drop(drain.lock().map(|mut guard| guard.take()))
    }
}

type Lines = slog::Fuse<slog::LevelFilter<slog::Fuse<slog_async::Async>>>;

fn build<D>(lines: D, level: slog::Level) -> (Lines, slog_async::AsyncGuard)
where
    D: Drain<Err = slog::Never, Ok = ()> + Send + 'static,
{
    let (drain, guard) = slog_async::Async::new(lines)
        .overflow_strategy(slog_async::OverflowStrategy::Block)
        .build_with_guard();
    (drain.fuse().filter_level(level).fuse(), guard)
}
