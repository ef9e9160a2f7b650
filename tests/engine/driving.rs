//! A drive in the hands of the test: it goes on only while it is polled, and dies when it is dropped.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use orch::domain::job::Claim;
use orch::domain::run::RunStep;
use orch::engine::run::{Driven, drive};
use orch::engine::{Engine, EngineError};
use orch::store::runs;

use super::house::PATIENCE;

type Drive = Pin<Box<dyn Future<Output = Result<Driven, EngineError>>>>;

/// Dropped, it is a monitor that died; kept and not polled, one that is frozen.
pub struct Driving {
    engine: Engine,
    claim: Claim,
    drive: Drive,
}

impl Driving {
    pub fn new(engine: Engine, claim: Claim) -> Self {
        let own = engine.clone();
        let drive: Drive = Box::pin(async move { drive(&own, claim).await });
        Self { engine, claim, drive }
    }

    /// Goes on until the condition holds, and freezes there.
    pub async fn until(&mut self, what: &str, condition: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let drive = &mut self.drive;
            let polled = poll_fn(|cx| Poll::Ready(drive.as_mut().poll(cx))).await;
            assert!(polled.is_pending(), "ended ({polled:?}) before {what}");
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            // What it waits for gets on meanwhile, but the drive itself does not.
            tokio::time::sleep(Duration::from_millis(2)).await;
            if condition().await {
                return;
            }
        }
    }

    /// Goes on until its run has come to a step.
    pub async fn until_step(&mut self, step: RunStep) {
        let (engine, claim) = (self.engine.clone(), self.claim);
        let there = async move || {
            let run = engine.store().read(move |tx| runs::of_claim(tx, claim)).await;
            run.unwrap().is_some_and(|r| r.step >= step)
        };
        self.until(step.as_str(), there).await;
    }

    /// Goes on to its end.
    pub async fn end(self) -> Result<Driven, EngineError> {
        match tokio::time::timeout(PATIENCE, self.drive).await {
            Ok(driven) => driven,
            Err(_) => panic!("job {} did not end", self.claim.job),
        }
    }
}
