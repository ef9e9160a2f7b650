//! The reserved job that looks at the gates of a stage in which nobody works (or whose gates a person asked for).

use super::super::look::Question;
use super::super::{Engine, EngineError, blocking};
use super::{Attempt, Step, judge};

pub(super) async fn gate_check(engine: &Engine, a: &mut Attempt) -> Result<Step, EngineError> {
    if a.task.candidate.is_none() {
        // Nobody has worked yet, so nobody has made the branch.
        a.check_hold(engine).await?;
        let (project, branch) = (a.project.clone(), a.task.branch.clone());
        blocking(move || Ok::<_, EngineError>(project.repository()?.ensure_branch(&branch).map(drop)?))
            .await?;
    }
    let judgement = judge::ask(
        engine,
        a,
        Question {
            head: None,
            gates: None,
            run: Some(a.run.id),
            anew: None,
        },
    )
    .await?;
    judge::conclude(engine, a, judgement).await
}
