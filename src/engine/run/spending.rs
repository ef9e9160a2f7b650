//! Reads what a run costs out of its output: while it grows, and at its end. Never ends a run.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use crate::agents::usage::{UsageFormat, UsageMeter};
use crate::domain::budget::{Budget, Limits, exceeded};
use crate::domain::run::Usage;
use crate::domain::usage::{self, UsageReport};
use crate::process::{self, OutputFollower};
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
    format: UsageFormat,
    /// Away while it is at work; begun anew where it does not come back.
    reading: Option<Reading>,
    /// The model that the settings chose.
    model: Option<String>,
    known: Option<Usage>,
}

struct Reading {
    meter: UsageMeter,
    output: OutputFollower,
}

impl Spending {
    /// From the beginning of its output. None where no limit is set: nobody needs to know before its end.
    pub(super) fn begin(a: &Attempt, format: UsageFormat, model: Option<String>) -> Option<Self> {
        let limits = a.project.config.budget;
        limits.any().then_some(Self {
            limits,
            format,
            reading: None,
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
        let mut reading = self.reading.take().unwrap_or_else(|| Reading {
            meter: UsageMeter::new(self.format),
            output: OutputFollower::new(&a.run_dir(engine)),
        });
        let read = blocking(move || {
            let Reading { meter, output } = &mut reading;
            output.read(|chunk| meter.bytes(chunk));
            Ok::<_, EngineError>(reading)
        });
        let Reading { meter, .. } = self.reading.insert(read.await?);
        let model = meter.model().or(self.model.as_deref());
        let usage = meter.so_far().map(|usage| priced(engine, usage, model));
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
    // An output that cannot be read (full disk) costs the figures, not the run.
    drop(read_all(&process::output_path(run_dir), &mut meter));
    meter.finish()
}

fn read_all(path: &Path, meter: &mut UsageMeter) -> io::Result<()> {
    let mut reader = BufReader::new(File::open(path)?);
    loop {
        let chunk = reader.fill_buf()?;
        let read = chunk.len();
        if read == 0 {
            return Ok(());
        }
        meter.bytes(chunk);
        reader.consume(read);
    }
}

/// What counts of a run whose log lacks something: what was read of it while it was written may tell more.
pub(super) fn at_least(seen: Option<Usage>, told: Option<Usage>) -> Option<Usage> {
    let cost = |usage: Option<Usage>| usage.and_then(|u| u.cost_micro_usd);
    match cost(seen) > cost(told) {
        true => seen,
        false => told,
    }
}
