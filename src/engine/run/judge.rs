//! Asks the gates, runs what they need, and performs what follows: one transaction with the job's end.

use std::time::Duration;

use crate::domain::front_matter;
use crate::domain::gate::GateState;
use crate::domain::job::JobEnd;
use crate::domain::pipeline::{GateSpec, Stage};
use crate::domain::run::RunStep;
use crate::domain::task::{Task, TaskStatus};
use crate::domain::walk::{self, Answer, Onward, Standing};
use crate::gates::{self, Check};
use crate::git::GitError;
use crate::store::evidence::{self, NewEvidence};

use super::super::check;
use super::super::lease::{self, Asked as LeaseAsked, Waiting};
use super::super::look::{Looked, Question, about, artifacts_dir, look};
use super::super::mergeable::{self, Mergeable, Purpose};
use super::super::transition::{self, Briefing, Ending};
use super::super::{Engine, EngineError, ProjectHandle, blocking};
use super::{Attempt, Step, staging};

/// What asking came to.
pub(super) struct Judgement {
    pub looked: Looked,
    /// Output of the check that was red, for the evidence.
    pub tail: String,
    /// Another task holds the lease: ask again when it is given back.
    pub waits: Option<Waiting>,
}

/// The last step of an agent's run.
pub(super) async fn judge(engine: &Engine, a: &mut Attempt) -> Result<Step, EngineError> {
    if let Some(question) = question_of(a).await? {
        return ask_person(engine, a, question).await;
    }
    let head = a.run.end_sha.clone();
    let judgement = ask(
        engine,
        a,
        Question {
            head,
            gates: None,
            run: Some(a.run.id),
            anew: None,
        },
    )
    .await?;
    conclude(engine, a, judgement).await
}

/// Asks until every gate has answered or one is not green; runs what they need on the way.
pub(super) async fn ask(
    engine: &Engine,
    a: &Attempt,
    mut question: Question,
) -> Result<Judgement, EngineError> {
    let mut tail = String::new();
    if question.anew.is_none() {
        let task = a.task.id;
        question.anew = engine.store().read(move |tx| evidence::last_id(tx, task)).await?;
    }
    loop {
        let mut looked = look(engine, &a.project, &a.task, &a.stage, &question).await?;
        let needs = looked
            .asked
            .last()
            .and_then(|asked| asked.needs.clone().map(|c| (asked.answer.gate.clone(), c)));
        let Some((gate, needed)) = needs else {
            return Ok(Judgement {
                looked,
                tail,
                waits: None,
            });
        };
        let ran = match needed {
            Check::Tests(command) => {
                let argv = vec!["sh".to_owned(), "-c".to_owned(), command.clone()];
                let spec = (
                    gates::TESTS,
                    argv,
                    command,
                    engine.settings().agent.check_timeout,
                    false,
                );
                run_check(engine, a, &looked, spec).await?
            }
            Check::Command {
                name,
                argv,
                timeout_s,
            } => {
                let line = argv.join(" ");
                let spec = (name.as_str(), argv, line, Duration::from_secs(timeout_s), true);
                run_check(engine, a, &looked, spec).await?
            }
            Check::Fresh => staging::fresh(engine, a, &looked, &gate).await?,
            Check::Mergeable | Check::Staging => {
                // A rebase gives the candidate another tree: what was green for its patch must be known before.
                keep(engine, a, std::mem::take(&mut looked.fresh)).await?;
                let made = match needed {
                    Check::Staging => staging::run(engine, a, &looked, &gate).await?,
                    Check::Mergeable | Check::Fresh | Check::Tests(_) | Check::Command { .. } => {
                        make_mergeable(engine, a, &gate).await?
                    }
                };
                match made {
                    Made::Busy(waiting) => {
                        return Ok(Judgement {
                            looked,
                            tail,
                            waits: Some(waiting),
                        });
                    }
                    Made::Done(ran) => {
                        // The rebase or the log may have moved the branch: the forge is asked for its head.
                        question.head = None;
                        ran
                    }
                }
            }
        };
        match ran {
            Ran::Answered(output) => tail = output,
            Ran::Unknown(why) => {
                return Ok(Judgement {
                    looked: looked.could_not_be_asked(why),
                    tail,
                    waits: None,
                });
            }
        }
    }
}

/// What running something for a gate gave.
pub(super) enum Ran {
    /// An answer, kept as evidence; the end of its output.
    Answered(String),
    /// None: it could not be run.
    Unknown(String),
}

/// Runs a check on the candidate and keeps its answer. What could not be run stays unknown for this look.
async fn run_check(
    engine: &Engine,
    a: &Attempt,
    looked: &Looked,
    (gate, argv, command, timeout, judged_by_exit): (&str, Vec<String>, String, Duration, bool),
) -> Result<Ran, EngineError> {
    let judged = &looked.judged;
    let label = gate.trim_start_matches(':').to_owned();
    let spec = check::Check {
        argv,
        at: judged.head.clone(),
        timeout,
        claim: a.claim,
        label,
        about: about(&a.project, &a.task),
    };
    let checked = check::run(engine, &a.project, spec).await?;
    let verdict = if judged_by_exit {
        checked.command_verdict()
    } else {
        checked.tests_verdict()
    };
    if !verdict.state.is_final() {
        return Ok(Ran::Unknown(verdict.reason));
    }
    let row = NewEvidence {
        task_id: a.task.id,
        gate: gate.to_owned(),
        candidate: judged.head.clone(),
        code_tree: judged.code_tree.clone(),
        patch_id: judged.patch_id.clone(),
        base: None,
        command: Some(command),
        verdict,
        run_id: Some(a.run.id),
        visit: a.task.visit,
    };
    keep(engine, a, vec![row]).await?;
    Ok(Ran::Answered(checked.tail))
}

/// Keeps answers while the job is still ours.
pub(super) async fn keep(engine: &Engine, a: &Attempt, answers: Vec<NewEvidence>) -> Result<(), EngineError> {
    if answers.is_empty() {
        return Ok(());
    }
    let (hold, now) = (a.hold(), engine.now());
    let kept = engine.store().write(move |tx| {
        hold.check(tx)?;
        transition::keep(tx, &answers, now)
    });
    Ok(kept.await?)
}

pub(super) enum Made {
    /// The lease is ours, and this came of it.
    Done(Ran),
    /// Another task holds the lease.
    Busy(Waiting),
}

pub(super) async fn make_mergeable(
    engine: &Engine,
    a: &Attempt,
    gate: &GateSpec,
) -> Result<Made, EngineError> {
    let lease = match lease::acquire(engine, &a.project, &a.task, a.hold()).await? {
        LeaseAsked::Held(lease) => lease,
        LeaseAsked::Busy(waiting) => return Ok(Made::Busy(waiting)),
    };
    let purpose = Purpose {
        hold: a.hold(),
        gate: gate.name.clone(),
    };
    let made = mergeable::make(engine, &a.project, &a.task, &lease, &purpose).await?;
    Ok(Made::Done(match made {
        Mergeable::Ready { .. } => Ran::Answered(String::new()),
        Mergeable::Red { tail, .. } => Ran::Answered(tail),
        Mergeable::Unknown { reason } => Ran::Unknown(reason),
    }))
}

/// Decides by the answers, and performs it.
pub(super) async fn conclude(engine: &Engine, a: &mut Attempt, j: Judgement) -> Result<Step, EngineError> {
    let answers = j.looked.answers();
    let onward = match &j.waits {
        Some(waiting) => waits_for_lease(&answers, &waiting.why),
        None => walk::onward(
            &standing((&a.project, &a.task, &a.stage), (j.looked.merged, j.looked.stale)),
            &answers,
        ),
    };
    super::perform::perform(engine, a, onward, j).await?;
    Ok(Step::Over)
}

fn waits_for_lease(answers: &[Answer], why: &str) -> Onward {
    match answers.iter().find(|x| x.verdict.state != GateState::Green) {
        Some(answer) => {
            let mut answer = answer.clone();
            answer.verdict.reason = why.to_owned();
            Onward::AskAgain(answer)
        }
        None => Onward::Merge,
    }
}

pub(super) fn standing<'a>(
    (project, task, stage): (&'a ProjectHandle, &Task, &'a Stage),
    (merged, stale): (bool, i64),
) -> Standing<'a> {
    Standing {
        pipeline: &project.config.pipeline,
        stage,
        merged,
        developer_retries: task.developer_retries,
        max_developer_retries: project.config.max_developer_retries,
        stale,
    }
}

/// The question an agent asks in an artifact that it wrote in this run.
async fn question_of(a: &Attempt) -> Result<Option<String>, EngineError> {
    let (Some(role), Some(start), Some(end)) = (a.job.role, a.run.start_sha.clone(), a.run.end_sha.clone())
    else {
        return Ok(None);
    };
    if start == end {
        return Ok(None);
    }
    let dir = artifacts_dir(&a.task);
    let paths: Vec<String> = crate::agents::prompt::asks_in(role)
        .iter()
        .map(|n| format!("{dir}/{n}"))
        .collect();
    let project = a.project.clone();
    blocking(move || {
        let mut objects = project.repository()?.objects()?;
        for path in &paths {
            let now = match objects.read_blob(&end, path) {
                // Its gate says so.
                Err(GitError::TooLarge { .. }) => continue,
                now => now?,
            };
            let Some(asks) = now
                .as_deref()
                .and_then(|text| front_matter::parse(text).ok()?.asks())
            else {
                continue;
            };
            if objects.read_blob(&start, path).ok().flatten() != now {
                return Ok(Some(asks));
            }
        }
        Ok::<_, EngineError>(None)
    })
    .await
}

async fn ask_person(engine: &Engine, a: &mut Attempt, question: String) -> Result<Step, EngineError> {
    let ending = Ending::new(a.hold(), JobEnd::Done);
    let (task, s) = (a.task.clone(), a.setting(engine));
    let question = check::one_line(&question, 2000);
    engine
        .store()
        .write(move |tx| {
            transition::end_claim(tx, &ending, s.now)?;
            let b = Briefing {
                text: format!("asks: {question}"),
                kind: "parked",
                ..Briefing::default()
            };
            let task = transition::stand(
                tx,
                s.now,
                &task,
                TaskStatus::NeedsInput,
                Some(question.clone()),
                &b,
            )?;
            transition::comment(tx, &task, "question", &question, s.now)?;
            transition::notify(
                tx,
                &task,
                "question",
                &format!("{} asks: {question}", task.work_item_id),
                s.now,
            )
        })
        .await?;
    a.run.step = RunStep::Evaluated;
    engine.committed();
    Ok(Step::Over)
}
