//! What a forge tells has the gates of the right task asked at once, and of no other.

use orch::domain::id::TaskId;
use orch::domain::inbox::Source;
use orch::engine::{Hint, inbox};
use orch::store::inbox::NewDelivery;

use super::house::{House, Plan};
use crate::support::fake_gitea::{FakeGitea, Flavour, Mail, REPOSITORY};

const STAGES: &str = r#"
[[stage]]
name = "development"
role = "developer"
gates = ["ci_green"]
rollback_to = "development"

[[stage]]
name = "review"
role = "reviewer"
gates = ["reviewer_verdict", "branch_mergeable"]
rollback_to = "development"

[[stage]]
name = "done"
"#;

async fn house() -> (FakeGitea, House) {
    let gitea = FakeGitea::new();
    let house = Plan::new(STAGES).forge(&gitea).build().await;
    (gitea, house)
}

/// These arrive; answers what became of each, oldest first.
async fn arrive(house: &House, mail: Vec<Mail>) -> Vec<String> {
    let before = inbox::list(&house.engine, None).await.unwrap().len();
    for one in mail {
        let new = NewDelivery {
            source: Source::Forge,
            digest: format!("digest of {}", one.delivery),
            delivery: one.delivery,
            event: one.event,
            event_type: one.event_type,
            body: String::from_utf8(one.body).unwrap(),
        };
        inbox::receive(&house.engine, new).await.unwrap();
    }
    inbox::apply(&house.engine).await.unwrap();
    let mut found = inbox::list(&house.engine, None).await.unwrap();
    found.reverse();
    let word = |d: &orch::engine::views::DeliveryView| {
        format!("{}: {}", d.status, d.outcome.as_deref().unwrap_or_default())
    };
    found[before..].iter().map(word).collect()
}

/// A task whose developer is done, and that waits for CI.
async fn waits_for_ci(house: &House, gitea: &FakeGitea, title: &str) -> TaskId {
    let task = house.add(title).await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "development active");
    gitea.mail();
    task
}

async fn due(house: &House, task: TaskId) -> bool {
    let job = house.live_job(task).await.unwrap();
    job.available_at <= house.engine.now()
}

async fn head(house: &House, task: TaskId) -> String {
    let branch = house.task(task).await.branch;
    house.head(branch.as_str()).unwrap().to_string()
}

#[actix_rt::test]
async fn a_status_has_the_gates_of_its_task_asked_now_and_of_no_other() {
    for flavour in [Flavour::Gitea, Flavour::Gitea123] {
        let (gitea, house) = house().await;
        gitea.webhooks(flavour, "s");
        let (one, other) = (
            waits_for_ci(&house, &gitea, "One").await,
            waits_for_ci(&house, &gitea, "Other").await,
        );
        assert!(!due(&house, one).await && !due(&house, other).await);
        gitea.status(REPOSITORY, &head(&house, one).await, "ci / test", "success");
        assert_eq!(
            arrive(&house, gitea.mail()).await,
            ["applied: SHOP-001: its gates are asked now"]
        );
        assert!(due(&house, one).await && !due(&house, other).await);
        house.run_all().await;
        // Its pull request is not open yet.
        assert_eq!(
            (
                house.stands(one).await.as_str(),
                house.stands(other).await.as_str()
            ),
            ("review active", "development active")
        );
    }
}

#[actix_rt::test]
async fn what_it_says_is_not_believed_but_asked_for() {
    let (gitea, house) = house().await;
    let task = waits_for_ci(&house, &gitea, "One").await;
    gitea.status(REPOSITORY, &head(&house, task).await, "ci / test", "pending");
    let mut mail = gitea.mail();
    for one in &mut mail {
        one.body = String::from_utf8(one.body.clone())
            .unwrap()
            .replace("pending", "success")
            .into_bytes();
    }
    arrive(&house, mail).await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "development active");
}

#[actix_rt::test]
async fn a_workflow_that_ended_is_told_in_either_dialect() {
    for (flavour, name) in [
        (Flavour::Gitea, "workflow_run"),
        (Flavour::Forgejo, "action_run_success"),
    ] {
        let (gitea, house) = house().await;
        gitea.webhooks(flavour, "s");
        let task = waits_for_ci(&house, &gitea, "One").await;
        gitea.status(REPOSITORY, &head(&house, task).await, "ci / test", "success");
        gitea.mail();
        let branch = house.task(task).await.branch;
        gitea.workflow_run(REPOSITORY, branch.as_str(), "success");
        let mail = gitea.mail();
        assert!(mail.iter().all(|m| m.event == name), "{mail:?}");
        arrive(&house, mail).await;
        assert!(due(&house, task).await, "{name}");
    }
}

#[actix_rt::test]
async fn a_commit_that_no_task_has_is_that_of_the_only_one_in_development() {
    let (gitea, house) = house().await;
    let one = waits_for_ci(&house, &gitea, "One").await;
    let unknown = gitea.commit(REPOSITORY, "elsewhere", &[("x.txt", "x\n")]);
    gitea.mail();
    gitea.status(REPOSITORY, &unknown, "ci / test", "success");
    assert_eq!(
        arrive(&house, gitea.mail()).await,
        ["applied: SHOP-001: its gates are asked now"]
    );
    house.run_all().await;
    let other = waits_for_ci(&house, &gitea, "Other").await;
    gitea.status(REPOSITORY, &unknown, "ci / lint", "success");
    assert_eq!(
        arrive(&house, gitea.mail()).await,
        [format!(
            "ignored: no task has the commit {}, and 2 are in development",
            &unknown[..10]
        )]
    );
    assert!(!due(&house, one).await && !due(&house, other).await);
}

#[actix_rt::test]
async fn pushes_and_pull_requests_are_told_by_their_branch() {
    let (gitea, mut house) = house().await;
    let task = waits_for_ci(&house, &gitea, "One").await;
    let branch = house.task(task).await.branch.to_string();
    // A person adds to the branch, and closes its pull request.
    gitea.commit(REPOSITORY, &branch, &[("more.txt", "x\n")]);
    let number = gitea.open_pull(REPOSITORY, &branch);
    gitea.close(REPOSITORY, number);
    let found = arrive(&house, gitea.mail()).await;
    assert_eq!(found[0], "applied: SHOP-001: its gates are asked now");
    assert!(
        found[1..]
            .iter()
            .all(|line| line == "applied: SHOP-001: its gates are being asked"),
        "{found:?}"
    );
    let told = house.events(task).await;
    let closed = format!("pull request #{number} was closed without a merge");
    assert!(told.iter().any(|line| line.contains(&closed)), "{told:?}");
    // Main: what was made ready from it is made anew.
    while house.hints.try_recv().is_ok() {}
    gitea.commit(REPOSITORY, "main", &[("main.txt", "x\n")]);
    assert_eq!(arrive(&house, gitea.mail()).await, ["applied: main moved"]);
    let mut hints = Vec::new();
    while let Ok(hint) = house.hints.try_recv() {
        hints.push(hint);
    }
    assert!(hints.contains(&Hint::Spare(house.project.id)), "{hints:?}");
    // A branch that nobody knows, and a repository that nobody has.
    gitea.repository("other/shop");
    gitea.commit(REPOSITORY, "elsewhere", &[("y.txt", "x\n")]);
    gitea.commit("other/shop", "main", &[("y.txt", "x\n")]);
    assert_eq!(
        arrive(&house, gitea.mail()).await,
        [
            "ignored: no task has the branch elsewhere",
            "ignored: no project here has the repository other/shop"
        ]
    );
}

#[actix_rt::test]
async fn an_agent_at_work_is_left_alone() {
    let (gitea, house) = house().await;
    let task = house.add("One").await;
    let claim = house.claim_one().await;
    let branch = house.task(task).await.branch.to_string();
    gitea.commit(REPOSITORY, &branch, &[("more.txt", "x\n")]);
    let before = house.job(claim).await;
    assert_eq!(
        arrive(&house, gitea.mail()).await,
        ["applied: SHOP-001: its gates are asked when its agent has ended"]
    );
    assert_eq!(house.job(claim).await, before);
}
