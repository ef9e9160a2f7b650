//! Reads what a run costs out of its output: while it grows, and at its end. Never ends a run.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::agents::usage::{UsageFormat, UsageMeter};
use crate::domain::budget::{Budget, Limits, exceeded};
use crate::domain::run::Usage;
use crate::domain::usage::{self, UsageReport};
use crate::process;
use crate::store::runs::RunPatch;
use crate::store::spend;

use super::super::transition::{self, Abort};
use super::super::{Engine, EngineError, blocking};
use super::Attempt;

/// How often the output of a run is looked at: nothing tells that a file grew on every file system.
pub(super) const LOOK: Duration = Duration::from_secs(2);

/// One run whose output is read as it grows.
pub(super) struct Spending {
    limits: Limits,
    meter: UsageMeter,
    path: PathBuf,
    /// Up to where it was read.
    at: u64,
    /// The model that the settings chose.
    model: Option<String>,
    known: Option<Usage>,
}

impl Spending {
    /// From the beginning of its output. None where no limit is set: nobody needs to know before its end.
    pub(super) fn begin(
        engine: &Engine,
        a: &Attempt,
        format: UsageFormat,
        model: Option<String>,
    ) -> Option<Self> {
        let limits = a.project.config.budget;
        limits.any().then(|| Self {
            limits,
            meter: UsageMeter::new(format),
            path: process::output_path(&a.run_dir(engine)),
            at: 0,
            model,
            known: None,
        })
    }

    /// Reads what the agent printed since the last look, and counts what it cost. Answers the limit that is exceeded by
    /// that.
    pub(super) async fn look(
        &mut self,
        engine: &Engine,
        a: &mut Attempt,
    ) -> Result<Option<Budget>, EngineError> {
        let (path, at) = (self.path.clone(), self.at);
        let mut meter = std::mem::replace(&mut self.meter, UsageMeter::new(UsageFormat::None));
        let read = blocking(move || {
            let at = read_on(&path, at, &mut meter);
            Ok::<_, EngineError>((meter, at))
        });
        (self.meter, self.at) = read.await?;
        let model = self.meter.model().or(self.model.as_deref());
        let usage = self.meter.so_far().map(|usage| priced(engine, usage, model));
        let Some(used) = usage.filter(|u| u.cost_micro_usd.is_some() && usage != self.known) else {
            return Ok(None);
        };
        let patch = RunPatch {
            usage: Some(used),
            charge: used.cost_micro_usd,
            ..RunPatch::default()
        };
        let (hold, task, project, now) = (a.hold(), a.task.id, a.task.project_id, engine.now());
        let (run, spent) = engine
            .store()
            .write(move |tx| {
                let run = transition::record(tx, hold, &patch, now)?;
                let spent = spend::spent(tx, task, project, now)?;
                Ok::<_, Abort>((run, spent))
            })
            .await?;
        a.run = run;
        self.known = usage;
        Ok(exceeded(self.limits, spent))
    }
}

/// The usage with a price, where the agent told none and the model's is known.
pub(super) fn priced(engine: &Engine, used: Usage, model: Option<&str>) -> Usage {
    match model.and_then(|model| engine.parts.prices.of(model)) {
        Some(price) => usage::priced(used, price),
        None => used,
    }
}

/// What the whole output says.
pub(super) fn report(run_dir: &Path, format: UsageFormat) -> UsageReport {
    let mut meter = UsageMeter::new(format);
    read_on(&process::output_path(run_dir), 0, &mut meter);
    meter.finish()
}

/// Gives the meter what stands in the file from there on; answers up to where that is. An output that cannot be read
/// (full disk) costs the figures, not the run.
fn read_on(path: &Path, from: u64, meter: &mut UsageMeter) -> u64 {
    let mut at = from;
    let opened = File::open(path).and_then(|mut file| file.seek(SeekFrom::Start(from)).map(|_| file));
    let Ok(file) = opened else { return at };
    let mut reader = BufReader::new(file);
    loop {
        let read = match reader.fill_buf() {
            Ok([]) | Err(_) => return at,
            Ok(chunk) => {
                meter.bytes(chunk);
                chunk.len()
            }
        };
        reader.consume(read);
        at += read as u64;
    }
}
