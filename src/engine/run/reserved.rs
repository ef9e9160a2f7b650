//! The reserved job that looks at the gates of a stage in which nobody works (or whose gates a person asked for).

use super::super::look::Question;
use super::super::{Engine, EngineError};
use super::{Attempt, Step, judge};

pub(super) async fn gate_check(engine: &Engine, a: &mut Attempt) -> Result<Step, EngineError> {
    let judgement = judge::ask(
        engine,
        a,
        Question {
            head: None,
            gates: None,
            run: Some(a.run.id),
        },
    )
    .await?;
    judge::conclude(engine, a, judgement).await
}
