//! Turns what is stored into what is shown. Never reads or decides.

use super::views::{EventView, JobView, RunView, TaskView};
use crate::domain::job::Job;
use crate::domain::run::Run;
use crate::domain::task::Task;
use crate::domain::time::Timestamp;
use crate::process;

pub(super) fn task_view(t: &Task, project: impl std::fmt::Display) -> TaskView {
    TaskView {
        id: t.work_item_id.to_string(),
        project: project.to_string(),
        title: t.title.clone(),
        stage: t.stage.to_string(),
        status: t.status.to_string(),
        reason: t.reason.clone(),
        branch: t.branch.to_string(),
        candidate: t.candidate.as_ref().map(|s| s.to_string()),
        developer_retries: t.developer_retries,
        priority: t.priority,
        stage_entered_at: t.stage_entered_at.to_string(),
        created_at: t.created_at.to_string(),
        finished_at: t.finished_at.map(|x| x.to_string()),
    }
}

pub(super) fn job_view(j: &Job, task: &str) -> JobView {
    JobView {
        id: j.id.0,
        task: task.to_owned(),
        kind: j.kind.as_str().to_owned(),
        role: j.role.map(|r| r.to_string()),
        stage: j.stage.to_string(),
        status: j.status.as_str().to_owned(),
        priority: j.priority,
        attempts: j.attempts,
        max_attempts: j.max_attempts,
        error: j.error.clone(),
        available_at: j.available_at.to_string(),
        claimed_at: j.claimed_at.map(|x| x.to_string()),
        finished_at: j.finished_at.map(|x| x.to_string()),
        held: None,
    }
}

pub(super) fn run_view(r: &Run, task: &str, now: Timestamp) -> RunView {
    let end = r.finished_at.unwrap_or(now);
    RunView {
        id: r.id.0,
        job: r.job_id.0,
        task: task.to_owned(),
        role: r.role.map(|x| x.to_string()),
        agent: r.agent.clone(),
        stage: r.stage.to_string(),
        step: r.step.as_str().to_owned(),
        exit: r.exit.as_ref().map(process::exit_text),
        error: r.error.clone(),
        remarks: r.exit.as_ref().map(process::exit_remarks).unwrap_or_default(),
        wip_ref: r.wip_ref.clone(),
        tokens_in: r.usage.map(|u| u.tokens_in),
        tokens_out: r.usage.map(|u| u.tokens_out),
        cost_micro_usd: r.usage.and_then(|u| u.cost_micro_usd),
        provenance: r.usage.map(|u| u.provenance.as_str().to_owned()),
        started_at: r.started_at.to_string(),
        finished_at: r.finished_at.map(|x| x.to_string()),
        duration_ms: i64::try_from(end.since(r.started_at).as_millis()).unwrap_or(i64::MAX),
    }
}

pub(super) fn event_view(e: crate::store::events::Event, task: &str) -> EventView {
    EventView {
        id: e.id,
        at: e.at.to_string(),
        task: task.to_owned(),
        stage: e.stage.to_string(),
        kind: e.kind,
        text: e.text,
    }
}
