//! Decides what a person's gesture does to a task. Never performs it.

use super::id::StageName;
use super::pipeline::{CREATED, GateKind, Pipeline, Stage};
use super::task::{Gesture, Task, TaskStatus};

/// What a gesture does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The task begins to walk.
    Start(StageName),
    /// A parked task goes on in its stage; retries are reset.
    Unpark,
    /// The human gate of this visit is green; the gates are asked.
    Approve,
    /// The gates are asked once.
    AskGates,
    /// The same role again, with the comment.
    Again,
    /// The live job is cancelled; back to development, no retry counted.
    BackTo(StageName),
    /// That very candidate is merged and deployed.
    Confirm,
    /// Parked until a person acts.
    Park(TaskStatus),
    /// The task is over; its work is kept.
    Cancel,
    /// Logged, nothing else.
    Nothing(String),
}

/// What a gesture does to `task`. `deploying` says that a confirmed deploy is under way.
pub fn effect(gesture: Gesture, task: &Task, pipeline: &Pipeline, deploying: bool) -> Effect {
    let nothing = |why: String| Effect::Nothing(why);
    if task.status.is_terminal() {
        return nothing(format!("{} is {}: nothing to do", task.work_item_id, task.status));
    }
    let Some(stage) = pipeline.stage(&task.stage) else {
        return match gesture {
            Gesture::Cancelled => Effect::Cancel,
            Gesture::InProgress
            | Gesture::Approved
            | Gesture::Rejected
            | Gesture::ConfirmDeploy
            | Gesture::NeedsInput
            | Gesture::Blocked => nothing(format!(
                "stage {:?} is no longer in the project's pipeline: put it back, or cancel the task",
                task.stage.as_str()
            )),
        };
    };
    let parked = matches!(task.status, TaskStatus::Blocked | TaskStatus::NeedsInput);
    match gesture {
        Gesture::InProgress if parked => Effect::Unpark,
        Gesture::InProgress if stage.name.as_str() == CREATED => match &stage.next {
            Some(next) => Effect::Start(next.clone()),
            None => nothing("the pipeline has no stage to start".into()),
        },
        Gesture::InProgress => nothing(format!("already in progress at {}", task.stage)),
        Gesture::Approved => approved(task, stage, parked),
        Gesture::Rejected => rejected(task, stage, pipeline, deploying),
        Gesture::ConfirmDeploy => confirm(task, stage, deploying),
        Gesture::NeedsInput if task.status == TaskStatus::NeedsInput => {
            nothing("already waits for input".into())
        }
        Gesture::NeedsInput => Effect::Park(TaskStatus::NeedsInput),
        Gesture::Blocked if task.status == TaskStatus::Blocked => nothing("already blocked".into()),
        Gesture::Blocked => Effect::Park(TaskStatus::Blocked),
        Gesture::Cancelled => Effect::Cancel,
    }
}

fn has_human_gate(stage: &Stage) -> bool {
    stage.gates.iter().any(|g| g.kind == GateKind::HumanApproved)
}

fn approved(task: &Task, stage: &Stage, parked: bool) -> Effect {
    if parked {
        return Effect::Nothing(format!(
            "{} is {}: unblock it first",
            task.work_item_id, task.status
        ));
    }
    if has_human_gate(stage) {
        return Effect::Approve;
    }
    if stage.merges {
        return Effect::Nothing("Approved does not deploy: use Confirm Deploy".into());
    }
    if stage.name.as_str() == CREATED {
        return Effect::Nothing("the task has not been started".into());
    }
    Effect::AskGates
}

fn rejected(task: &Task, stage: &Stage, pipeline: &Pipeline, deploying: bool) -> Effect {
    if stage.name.as_str() == CREATED {
        return Effect::Nothing("the task has not been started: cancel it instead".into());
    }
    if deploying {
        return Effect::Nothing("the confirmed deploy is under way and is not stopped by Rejected".into());
    }
    if has_human_gate(stage) && stage.role.is_some() {
        return Effect::Again;
    }
    match pipeline.development() {
        Some(development) => Effect::BackTo(development.name.clone()),
        None => Effect::Nothing(format!("{} has no stage to go back to", task.work_item_id)),
    }
}

fn confirm(task: &Task, stage: &Stage, deploying: bool) -> Effect {
    if !stage.merges || !stage.confirm {
        return Effect::Nothing(format!("nothing waits for Confirm Deploy at {}", task.stage));
    }
    if deploying {
        return Effect::Nothing("already confirmed: the deploy is under way".into());
    }
    match (task.status, &task.candidate) {
        (TaskStatus::WaitingHuman, Some(_)) => Effect::Confirm,
        (
            TaskStatus::WaitingHuman
            | TaskStatus::Active
            | TaskStatus::NeedsInput
            | TaskStatus::Blocked
            | TaskStatus::Cancelled
            | TaskStatus::Done,
            _,
        ) => Effect::Nothing(format!("no candidate waits for Confirm Deploy ({})", task.status)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::id::*;
    use super::super::pipeline::DefaultPipeline;
    use super::super::task::TrackerKind;
    use super::super::time::Timestamp;
    use super::*;

    fn task(stage: &str, status: TaskStatus) -> Task {
        let now = Timestamp(0);
        Task {
            id: TaskId(1),
            project_id: ProjectId(1),
            work_item_id: WorkItemId::trusted("ORCH-1"),
            tracker: TrackerKind::Local,
            external_id: "1".into(),
            title: String::new(),
            description: String::new(),
            branch: BranchName::trusted("feature/ORCH-1"),
            stage: StageName::trusted(stage),
            status,
            version: TaskVersion(1),
            visit: Visit(1),
            stage_entered_at: now,
            developer_retries: 0,
            reason: None,
            candidate: Some(Sha::trusted("a".repeat(40))),
            code_tree: None,
            evidence: None,
            priority: 0,
            executor: None,
            modifies: Vec::new(),
            created_at: now,
            updated_at: now,
            finished_at: None,
        }
    }

    /// One letter for each effect, so that the table reads like the documented one.
    fn letter(gesture: Gesture, stage: &str, status: TaskStatus, deploying: bool) -> char {
        match effect(
            gesture,
            &task(stage, status),
            &DefaultPipeline::default().build(),
            deploying,
        ) {
            Effect::Start(_) => 'S',
            Effect::Unpark => 'U',
            Effect::Approve => 'A',
            Effect::AskGates => 'g',
            Effect::Again => 'a',
            Effect::BackTo(_) => 'B',
            Effect::Confirm => 'C',
            Effect::Park(_) => 'P',
            Effect::Cancel => 'X',
            Effect::Nothing(_) => '-',
        }
    }

    #[test]
    fn the_table_of_gestures() {
        use TaskStatus::*;
        let rows = [
            ("created", Active, false, "S---PPX"),
            ("analysis", Active, false, "-Aa-PPX"),
            ("analysis", WaitingHuman, false, "-Aa-PPX"),
            ("architecture", Active, false, "-gB-PPX"),
            ("development", Active, false, "-gB-PPX"),
            ("development", Blocked, false, "U-B-P-X"),
            ("review", NeedsInput, false, "U-B--PX"),
            ("testing", Active, false, "-gB-PPX"),
            ("deploy-staging", Active, false, "-gB-PPX"),
            ("deploy", WaitingHuman, false, "--BCPPX"),
            ("deploy", Active, true, "----PPX"),
            ("done", Done, false, "-------"),
            ("review", Cancelled, false, "-------"),
        ];
        for (stage, status, deploying, expected) in rows {
            let got: String = Gesture::ALL
                .into_iter()
                .map(|g| letter(g, stage, status, deploying))
                .collect();
            assert_eq!(
                got, expected,
                "{stage} {status} (in-progress approved rejected confirm needs-input blocked cancelled)"
            );
        }
    }
}
