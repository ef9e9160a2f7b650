//! Deploys: what was brought along by another one, and for which tasks production is rolled back.

use std::collections::BTreeSet;

use orch::domain::deploy::{DeployId, DeployStatus, Outcome};
use orch::domain::id::{NodeName, Sha, TaskId};
use orch::store::Guarded;
use orch::store::deploys::{self, Deploy, Intended, NewDeploy};

use super::support::*;

/// An open attempt of a new task.
fn open(bed: &Bed, name: &str) -> Deploy {
    let task = bed.task(name);
    let new = NewDeploy {
        project_id: task.project_id,
        task_id: task.id,
        visit: task.visit,
        revision: Sha::trusted("1".repeat(40)),
        person: None,
        previous: None,
        node: NodeName::trusted("local"),
    };
    match bed.write(move |c| deploys::intend(c, &new, NOW)) {
        Intended::Ours(deploy) => deploy,
        Intended::Busy(deploy) => panic!("{deploy:?} is open"),
    }
}

fn settled(bed: &Bed, name: &str) -> Deploy {
    let id = open(bed, name).id;
    let outcome = Outcome {
        status: DeployStatus::Succeeded,
        why: "exit code 0".to_owned(),
    };
    won(bed.write(move |c| deploys::settle(c, id, &outcome, NOW)))
}

fn brought(bed: &Bed, id: DeployId, by: DeployId) -> Guarded<Deploy> {
    bed.write(move |c| deploys::brought(c, id, by, "another one has it", later(1)))
}

fn has_newer(bed: &Bed, deploy: &Deploy) -> bool {
    let deploy = deploy.clone();
    bed.write(move |c| deploys::has_newer(c, &deploy))
}

on_both! {
    fn what_was_brought_along_is_settled_once_and_is_nothing_newer(bed) {
        let first = settled(bed, "T-1");
        assert_eq!(first.brought_by, None);
        let second = open(bed, "T-2");
        assert!(has_newer(bed, &first), "it may be deployed");
        let along = won(brought(bed, second.id, first.id));
        assert_eq!((along.status, along.brought_by), (DeployStatus::Succeeded, Some(first.id)));
        assert_eq!(
            (along.result.as_deref(), along.finished_at),
            (Some("another one has it"), Some(later(1)))
        );
        assert_eq!(brought(bed, second.id, first.id), Guarded::Lost);
        assert_eq!(brought(bed, first.id, second.id), Guarded::Lost);
        assert!(!has_newer(bed, &first), "production was not changed");
        let task = second.task_id;
        assert_eq!(bed.write(move |c| deploys::running_of_task(c, task)), Some(along));
        let third = settled(bed, "T-3");
        assert!(has_newer(bed, &first) && has_newer(bed, &second) && !has_newer(bed, &third));
    }

    fn it_is_known_for_which_tasks_production_is_rolled_back(bed) {
        let (first, second) = (settled(bed, "T-1"), settled(bed, "T-2"));
        let ids = [first.task_id.0, second.task_id.0];
        let rolled_back = || bed.write(move |c| deploys::rolled_back(c, &ids));
        assert_eq!(rolled_back(), BTreeSet::new());
        let id = first.id;
        won(bed.write(move |c| deploys::begin_rollback(c, id, &NodeName::trusted("local"), NOW)));
        assert_eq!(rolled_back(), BTreeSet::from([TaskId(ids[0])]));
        won(bed.write(move |c| deploys::end_rollback(c, id, orch::domain::post_deploy::ActionTaken::RolledBack)));
        assert_eq!(rolled_back(), BTreeSet::new());
    }
}
