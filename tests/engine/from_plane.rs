//! What people do on the board of Plane takes effect once, in a delivery or found later; what Orch wrote there asks for nothing.

use std::time::Duration;

use orch::domain::id::TaskId;
use orch::domain::inbox::Source;
use orch::engine::inbox::{self, Applied};
use orch::engine::reconcile::{Swept, sweep};
use orch::engine::views::DeliveryView;
use orch::store::inbox::NewDelivery;

use super::house::{Backend, CONFIRMED, House, SHORT, on_both};
use crate::support::courier::Repeated;
use crate::support::fake_plane::{FakePlane, KEY, Mail, PROJECT, Version, WORKSPACE};

/// analysis → development → done.
const ANALYSED: &str = r#"
[[stage]]
name = "analysis"
role = "analyst"
gates = ["analysis_complete", "analysis_approved"]
rollback_to = "analysis"

[[stage]]
name = "development"
role = "developer"
gates = ["tests_local", "branch_mergeable"]
rollback_to = "development"

[[stage]]
name = "done"
"#;

const MIN: Duration = Duration::from_secs(60);
/// Longer than the grace.
const LONG: Duration = Duration::from_secs(601);

async fn house(backend: Backend, stages: &str) -> (House, FakePlane) {
    let plane = FakePlane::new();
    plane.rate_limit(None);
    let plan = backend
        .plan(stages)
        .set(&format!("plane.url = '{}'", plane.url))
        .set(&format!("plane.api_token = '{KEY}'"))
        .set(&format!("plane.workspace = '{WORKSPACE}'"))
        .top("tracker = 'plane'")
        .top(&format!("plane_project = '{PROJECT}'"));
    let house = plan.build().await;
    plane.set_time(house.engine.now().0);
    (house, plane)
}

/// Some time passes, here and there.
fn later(house: &House, plane: &FakePlane, by: Duration) {
    house.later(by);
    plane.set_time(house.engine.now().0);
}

async fn local<T>(step: impl Future<Output = T>) -> T {
    tokio::task::LocalSet::new().run_until(step).await
}

/// These deliveries come, in this order.
async fn receive(house: &House, mail: Vec<Mail>) {
    for one in mail {
        let digest = one
            .body
            .iter()
            .fold(7_u64, |sum, b| sum.wrapping_mul(31) + u64::from(*b));
        let new = NewDelivery {
            source: Source::Plane,
            delivery: one.delivery,
            digest: digest.to_string(),
            event: one.event,
            event_type: String::new(),
            body: String::from_utf8(one.body).unwrap(),
        };
        inbox::receive(&house.engine, new).await.unwrap();
    }
}

async fn apply(house: &House) -> Applied {
    local(inbox::apply(&house.engine)).await.unwrap()
}

async fn listed(house: &House) -> Vec<DeliveryView> {
    inbox::list(&house.engine, None).await.unwrap()
}

/// All that was sent arrives and is applied; answers what each came to, oldest first.
async fn arrive(house: &House, plane: &FakePlane) -> Vec<String> {
    let before = listed(house).await.len();
    receive(house, plane.mail()).await;
    apply(house).await;
    let mut found = listed(house).await;
    found.reverse();
    let word = |d: &DeliveryView| format!("{}: {}", d.status, d.outcome.as_deref().unwrap_or_default());
    found[before..].iter().map(word).collect()
}

/// After the states and the issue were read; also of its repetition.
fn lose_the_answer_of_the_writing(plane: &FakePlane) {
    plane.slow(2, Duration::ZERO);
    plane.drop_answer(2);
}

async fn swept(house: &House) -> Swept {
    local(sweep(&house.engine)).await.unwrap()
}

fn count(house: &House, table: &str) -> usize {
    house.sql_lines(&format!("SELECT CAST(count(*) AS TEXT) AS line FROM {table}"))[0]
        .parse()
        .unwrap()
}

/// The task of the only issue.
fn only_task(house: &House) -> TaskId {
    assert_eq!(count(house, "tasks"), 1);
    house.sql_lines("SELECT CAST(id AS TEXT) AS line FROM tasks")[0]
        .parse()
        .map(TaskId)
        .unwrap()
}

/// A task that a person started on the board.
async fn started(house: &House, plane: &FakePlane) -> (String, TaskId) {
    let issue = plane.issue(PROJECT, "Search");
    plane.drag(&issue, "In Progress", "ann");
    arrive(house, plane).await;
    (issue, only_task(house))
}

/// The same, with everything told to the board and heard back, until a person is asked for something.
async fn waiting(house: &House, plane: &FakePlane) -> (String, TaskId) {
    let (issue, task) = started(house, plane).await;
    house.run_all().await;
    house.deliver().await;
    arrive(house, plane).await;
    assert_eq!(plane.state_of(&issue), "In Review");
    later(house, plane, MIN);
    (issue, task)
}

async fn a_task_is_made_once_from_its_issue_however_often_it_is_told(backend: Backend) {
    let (house, plane) = house(backend, SHORT).await;
    let issue = plane.issue(PROJECT, "  Search\nby name ");
    plane.drag(&issue, "In Progress", "ann");
    let mail = plane.mail();
    let again: Vec<_> = mail.iter().map(Repeated::again).collect();
    receive(&house, mail).await;
    receive(&house, again).await;
    apply(&house).await;
    let task = house.task(only_task(&house)).await;
    assert_eq!(
        (
            task.work_item_id.as_str(),
            task.title.as_str(),
            task.description.as_str()
        ),
        ("SHOP-001", "Search by name", "hello")
    );
    assert_eq!(task.external_id, issue);
    assert_eq!(house.job_words(task.id).await, ["developer queued"]);
    // Another webhook of the same, under a body of its own.
    plane.drag(&issue, "Todo", "ann");
    plane.drag(&issue, "In Progress", "ann");
    assert_eq!(
        arrive(&house, &plane).await,
        [
            "ignored: \"Todo\" asks for nothing",
            "ignored: in-progress of SHOP-001 by ann: already in progress at development",
        ]
    );
    assert_eq!((count(&house, "tasks"), count(&house, "jobs")), (1, 1));
}

async fn a_task_has_its_issues_number_where_that_is_free(backend: Backend) {
    let (house, plane) = house(backend, SHORT).await;
    house.add("By hand").await;
    let (first, second) = (plane.issue(PROJECT, "One"), plane.issue(PROJECT, "Two"));
    plane.drag(&second, "In Progress", "ann");
    plane.drag(&first, "In Progress", "ann");
    arrive(&house, &plane).await;
    let names = house.sql_lines("SELECT work_item_id || ' ' || title AS line FROM tasks ORDER BY id");
    assert_eq!(names, ["SHOP-001 By hand", "SHOP-002 Two", "SHOP-003 One"]);
}

async fn what_orch_writes_comes_back_and_asks_for_nothing(backend: Backend) {
    let (house, plane) = house(backend, ANALYSED).await;
    let (issue, task) = started(&house, &plane).await;
    house.run_all().await;
    // The answer is lost: it is written, and nobody knows.
    lose_the_answer_of_the_writing(&plane);
    house.deliver().await;
    later(&house, &plane, MIN);
    house.deliver().await;
    assert_eq!(plane.state_of(&issue), "In Review");
    let before = house.task(task).await;
    let found = arrive(&house, &plane).await;
    assert!(
        found.iter().all(|line| line.starts_with("ignored: ")),
        "{found:?}"
    );
    assert!(
        found.contains(&"ignored: what Orch wrote to SHOP-001, seen back".to_owned()),
        "{found:?}"
    );
    assert_eq!(house.task(task).await, before);
    // A person blocks it; Orch says so on the board; that comes back: nobody blocks or unparks it.
    plane.drag(&issue, "Blocked", "ann");
    assert_eq!(
        arrive(&house, &plane).await,
        ["applied: blocked of SHOP-001 by ann: parked: blocked"]
    );
    plane.drag(&issue, "In Progress", "ann");
    assert_eq!(
        arrive(&house, &plane).await,
        ["applied: in-progress of SHOP-001 by ann: goes on at analysis, retries reset"]
    );
    house.deliver().await;
    let found = arrive(&house, &plane).await;
    assert!(
        found.iter().all(|line| line.starts_with("ignored: ")),
        "{found:?}"
    );
    assert_eq!(house.stands(task).await, "analysis active");
}

async fn the_gate_of_people_is_opened_and_work_goes_back_with_their_words(backend: Backend) {
    let (house, plane) = house(backend, ANALYSED).await;
    let (issue, task) = waiting(&house, &plane).await;
    plane.say(&issue, "<p>Not <b>that</b> one</p>");
    plane.drag(&issue, "Rejected", "ann");
    let found = arrive(&house, &plane).await;
    assert_eq!(
        found.last().unwrap(),
        "applied: rejected of SHOP-001 by ann: analysis again, with the comment"
    );
    let again = house.live_job(task).await.unwrap();
    assert!(
        again.notes.as_deref().unwrap().contains("Not that one"),
        "{again:?}"
    );
    house.run_all().await;
    house.deliver().await;
    arrive(&house, &plane).await;
    later(&house, &plane, MIN);
    plane.drag(&issue, "Approved", "ann");
    assert_eq!(
        arrive(&house, &plane).await,
        ["applied: approved of SHOP-001 by ann: approved at analysis"]
    );
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
    house.deliver().await;
    assert_eq!(plane.state_of(&issue), "Done");
}

async fn of_two_decisions_the_later_one_counts_whichever_comes_first(backend: Backend) {
    let (house, plane) = house(backend, ANALYSED).await;
    let (issue, task) = waiting(&house, &plane).await;
    plane.drag(&issue, "Rejected", "ann");
    plane.drag(&issue, "Approved", "ann");
    let mut mail = plane.mail();
    mail.reverse();
    receive(&house, mail).await;
    apply(&house).await;
    let found = listed(&house).await;
    assert_eq!(
        found[0].outcome.as_deref(),
        Some("this or a later change of SHOP-001 was applied before")
    );
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
    assert_eq!(house.ran(), ["analyst", "developer"]);
}

async fn a_task_ends_with_its_issue(backend: Backend) {
    let (house, plane) = house(backend, ANALYSED).await;
    let (issue, task) = waiting(&house, &plane).await;
    plane.drag(&issue, "Cancelled", "ann");
    assert_eq!(
        arrive(&house, &plane).await,
        ["applied: cancelled of SHOP-001 by ann: cancelled; work is kept"]
    );
    assert_eq!(house.stands(task).await, "analysis cancelled");
    // No other state starts it again.
    plane.drag(&issue, "In Progress", "ann");
    let found = arrive(&house, &plane).await;
    assert_eq!(
        found,
        ["ignored: in-progress of SHOP-001 by ann: SHOP-001 is cancelled: nothing to do"]
    );
}

async fn a_deleted_issue_ends_its_task_though_plane_tells_nobody(backend: Backend) {
    let (house, plane) = house(backend, ANALYSED).await;
    let (issue, task) = waiting(&house, &plane).await;
    plane.delete(&issue);
    assert_eq!(plane.mail(), []);
    // It cannot be seen, and its project cannot either: it need not be gone.
    plane.slow(1, Duration::ZERO);
    plane.fail_next(2, 404);
    assert_eq!(swept(&house).await.unblocked, [""; 0]);
    // Once is not enough: what stands before Plane may have lost its way.
    assert_eq!(swept(&house).await.unblocked, [""; 0]);
    assert_eq!(house.stands(task).await, "analysis waiting_human");
    let found = swept(&house).await;
    assert_eq!(
        found.unblocked,
        ["cancelled of SHOP-001 by somebody in Plane: cancelled; work is kept (lost webhook)"]
    );
    assert_eq!(house.stands(task).await, "analysis cancelled");
    assert_eq!(swept(&house).await, Swept::default());
}

async fn a_deploy_is_confirmed_by_who_was_asked_and_never_in_arrears(backend: Backend) {
    let (house, plane) = house(backend, CONFIRMED).await;
    let (issue, task) = started(&house, &plane).await;
    // Before there is anything to confirm.
    plane.drag(&issue, "Confirm Deploy", "ann");
    let early = plane.mail();
    later(&house, &plane, MIN);
    house.run_all().await;
    assert_eq!(house.stands(task).await, "deploy waiting_human");
    later(&house, &plane, MIN);
    // It is seen before it is written over, and comes after that.
    let mut told = house.deliver().await;
    receive(&house, early).await;
    apply(&house).await;
    told.extend(house.deliver().await);
    assert_eq!(house.stands(task).await, "deploy waiting_human");
    let again = |told: &[(String, String)]| {
        let about = told
            .iter()
            .filter(|(about, _)| about.starts_with("confirm-again"));
        about.count()
    };
    assert_eq!(again(&told), 1, "{told:?}");
    // A missed one: its webhook is lost.
    plane.drag(&issue, "Confirm Deploy", "ann");
    plane.mail();
    later(&house, &plane, LONG);
    let before = house.main();
    for _ in 0..3 {
        assert_eq!(swept(&house).await.unblocked, [""; 0]);
    }
    let told = house.deliver().await;
    assert_eq!(again(&told), 1, "{told:?}");
    house.run_all().await;
    assert_eq!(
        (house.stands(task).await.as_str(), house.main()),
        ("deploy waiting_human", before)
    );
    // Approved never deploys.
    plane.drag(&issue, "Approved", "ann");
    assert_eq!(
        arrive(&house, &plane).await,
        ["ignored: approved of SHOP-001 by ann: Approved does not deploy: use Confirm Deploy"]
    );
    plane.drag(&issue, "Confirm Deploy", "ann");
    assert_eq!(
        arrive(&house, &plane).await,
        ["applied: confirm-deploy of SHOP-001 by ann: confirmed: this candidate is merged and deployed"]
    );
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

async fn what_no_webhook_told_is_found_on_the_board_once(backend: Backend) {
    let (house, plane) = house(backend, ANALYSED).await;
    let issue = plane.issue(PROJECT, "Search");
    plane.drag(&issue, "In Progress", "ann");
    let lost = plane.mail();
    // Its webhook may still come.
    later(&house, &plane, MIN);
    assert_eq!(swept(&house).await, Swept::default());
    later(&house, &plane, LONG);
    assert_eq!(
        swept(&house).await.unblocked,
        ["SHOP-001 started by somebody in Plane (lost webhook)"]
    );
    let task = only_task(&house);
    house.run_all().await;
    // What was written is not heard back either.
    house.deliver().await;
    plane.mail();
    later(&house, &plane, LONG);
    assert_eq!(swept(&house).await, Swept::default());
    plane.drag(&issue, "Approved", "ann");
    let approved = plane.mail();
    later(&house, &plane, LONG);
    assert_eq!(
        swept(&house).await.unblocked,
        ["approved of SHOP-001 by somebody in Plane: approved at analysis (lost webhook)"]
    );
    let told = house.deliver().await;
    assert!(
        told.contains(&(
            "unblocked".into(),
            "SHOP-001 unblocked at analysis (lost webhook)".into()
        )),
        "{told:?}"
    );
    // They come after all: a state of long ago is no event.
    let before = (house.task(task).await, count(&house, "jobs"));
    receive(&house, [lost, approved].concat()).await;
    apply(&house).await;
    assert_eq!((house.task(task).await, count(&house, "jobs")), before);
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
    later(&house, &plane, LONG);
    assert_eq!(swept(&house).await, Swept::default());
    assert_eq!(house.ran(), ["analyst", "developer"]);
}

async fn a_board_is_read_to_where_it_was_read_before(backend: Backend) {
    let (house, plane) = house(backend, SHORT).await;
    for n in 0..250 {
        plane.issue(PROJECT, &format!("Issue {n}"));
    }
    later(&house, &plane, LONG);
    let issue = plane.issue(PROJECT, "Search");
    plane.drag(&issue, "In Progress", "ann");
    plane.mail();
    later(&house, &plane, LONG);
    plane.take_seen();
    swept(&house).await;
    let asked = |seen: &[String]| seen.iter().filter(|line| *line == "GET work-items 200").count();
    // Three pages, the issue itself for its words, and as one that may be gone.
    assert_eq!(asked(&plane.take_seen()), 5);
    later(&house, &plane, LONG);
    swept(&house).await;
    // One page, and the issue by its id, whether it is gone.
    assert_eq!(asked(&plane.take_seen()), 2);
}

async fn a_decision_that_no_delivery_told_is_not_written_over(backend: Backend) {
    let (house, plane) = house(backend, ANALYSED).await;
    let (issue, task) = started(&house, &plane).await;
    house.run_all().await;
    // "In Review" is on the board, and nobody heard so. A person decides; nobody hears of that either.
    lose_the_answer_of_the_writing(&plane);
    let (_, trouble) = house.delivered().await;
    assert_eq!(trouble.len(), 1, "{trouble:?}");
    assert_eq!(plane.state_of(&issue), "In Review");
    later(&house, &plane, MIN);
    plane.drag(&issue, "Approved", "ann");
    plane.mail();
    let (_, trouble) = house.delivered().await;
    assert_eq!(trouble, [""; 0]);
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
    later(&house, &plane, LONG);
    house.deliver().await;
    assert_eq!(plane.state_of(&issue), "Done");
}

async fn a_delivery_that_needs_plane_waits_until_it_answers(backend: Backend) {
    let (house, plane) = house(backend, SHORT).await;
    plane.webhooks(Version::Second, "s");
    let issue = plane.issue(PROJECT, "Search");
    plane.drag(&issue, "In Progress", "ann");
    plane.fail_next(5, 503);
    let found = arrive(&house, &plane).await;
    assert!(
        found.iter().all(|line| line.starts_with("pending: ")),
        "{found:?}"
    );
    assert_eq!(count(&house, "tasks"), 0);
    for _ in 0..20 {
        later(&house, &plane, LONG);
        apply(&house).await;
    }
    assert_eq!(house.task(only_task(&house)).await.title, "Search");
    let last = listed(&house).await;
    assert!(last.iter().all(|d| d.status != "pending"), "{last:?}");
}

async fn what_concerns_nobody_is_kept_with_the_reason(backend: Backend) {
    let (house, plane) = house(backend, SHORT).await;
    plane.project(
        "466f86a0-188f-422a-9829-30cfab484970",
        &["In Progress", "Backlog"],
    );
    let other = plane.issue("466f86a0-188f-422a-9829-30cfab484970", "Elsewhere");
    let own = plane.issue(PROJECT, "Search");
    plane.drag(&own, "Approved", "ann");
    plane.drag(&other, "Backlog", "ann");
    plane.say(&own, "<p>hello</p>");
    let elsewhere = "ignored: no project here has the Plane project 466f86a0-188f-422a-9829-30cfab484970";
    assert_eq!(
        arrive(&house, &plane).await,
        [
            elsewhere,
            "ignored: it has no task, and \"Todo\" starts none",
            "ignored: it has no task, and \"Approved\" starts none",
            elsewhere,
            "ignored: events of kind \"issue_comment\" are not used",
        ]
    );
    assert_eq!(count(&house, "tasks"), 0);
}

async fn what_could_not_be_done_when_it_was_found_is_found_again(backend: Backend) {
    let (house, plane) = house(backend, ANALYSED).await;
    let (issue, task) = waiting(&house, &plane).await;
    later(&house, &plane, LONG);
    swept(&house).await;
    plane.drag(&issue, "Rejected", "ann");
    plane.mail();
    later(&house, &plane, LONG);
    // More than a page of others has changed since, longer after it than what is read twice.
    for n in 0..150 {
        plane.issue(PROJECT, &format!("Other {n}"));
    }
    later(&house, &plane, LONG);
    plane.issue(PROJECT, "The last");
    later(&house, &plane, LONG);
    // The board is read; the words that came with it cannot be.
    plane.slow(3, Duration::ZERO);
    plane.fail_next(1, 503);
    plane.take_seen();
    assert_eq!(swept(&house).await.unblocked, [""; 0]);
    assert!(plane.take_seen().contains(&"GET comments 503".to_owned()));
    assert_eq!(house.stands(task).await, "analysis waiting_human");
    later(&house, &plane, LONG);
    assert_eq!(
        swept(&house).await.unblocked,
        ["rejected of SHOP-001 by somebody in Plane: analysis again, with the comment (lost webhook)"]
    );
}

async fn a_delivery_behind_one_that_waits_does_not_hurry_it(backend: Backend) {
    let (house, plane) = house(backend, SHORT).await;
    plane.webhooks(Version::Second, "s");
    let issue = plane.issue(PROJECT, "Search");
    plane.drag(&issue, "In Progress", "ann");
    plane.drag(&issue, "Todo", "ann");
    receive(&house, plane.mail()).await;
    plane.fail_next(50, 503);
    let first = apply(&house).await;
    let tried = plane.take_seen().len();
    let again = apply(&house).await;
    assert_eq!(plane.take_seen(), [""; 0]);
    assert!(tried > 0 && again.next_at == first.next_at, "{first:?} {again:?}");
    assert!(again.next_at.unwrap() > house.engine.now(), "{again:?}");
}

/// Plane writes a delivery some time after it happened: what it shows of the issue is how it stands then.
fn overtaken(mail: Vec<Mail>, state: &str, at: i64) -> Vec<Mail> {
    let late = |mut one: Mail| {
        let mut body: serde_json::Value = serde_json::from_slice(&one.body).unwrap();
        body["data"]["state"]["id"] = "00000000-0000-4000-8000-ffffffffffff".into();
        body["data"]["state"]["name"] = state.into();
        body["data"]["updated_at"] = format!("{:.6}", jiff::Timestamp::from_microsecond(at).unwrap()).into();
        one.body = body.to_string().into_bytes();
        one
    };
    mail.into_iter().map(late).collect()
}

async fn a_gesture_counts_though_the_issue_has_another_state_by_now(backend: Backend) {
    let (house, plane) = house(backend, ANALYSED).await;
    let (issue, task) = waiting(&house, &plane).await;
    plane.drag(&issue, "Approved", "ann");
    later(&house, &plane, MIN);
    // Orch has written over it.
    let mail = overtaken(plane.mail(), "In Review", house.engine.now().0);
    receive(&house, mail).await;
    apply(&house).await;
    assert_eq!(
        listed(&house).await[0].outcome.as_deref(),
        Some("approved of SHOP-001 by ann: approved at analysis")
    );
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

async fn whatever_a_person_asks_for_is_done_before_it_is_written_over(backend: Backend) {
    let (house, plane) = house(backend, ANALYSED).await;
    let (issue, task) = started(&house, &plane).await;
    house.run_all().await;
    // Nothing is told to anybody.
    plane.drag(&issue, "Cancelled", "ann");
    plane.mail();
    house.deliver().await;
    assert_eq!(house.stands(task).await, "analysis cancelled");
    assert_eq!(plane.state_of(&issue), "Cancelled");
}

async fn a_confirmation_of_another_candidate_deploys_nothing_however_the_clocks_go(backend: Backend) {
    let (house, plane) = house(backend, CONFIRMED).await;
    let (issue, task) = started(&house, &plane).await;
    house.run_all().await;
    // Plane's clock is an hour ahead.
    plane.set_time(house.engine.now().0 + 3_600_000_000);
    house.deliver().await;
    arrive(&house, &plane).await;
    plane.drag(&issue, "Confirm Deploy", "ann");
    let confirmed = plane.mail();
    // Before it arrives the candidate is another one, and is asked about anew.
    house.commit(house.task(task).await.branch.as_str(), &[("more.txt", "x\n")]);
    house.gesture(task, "rejected").await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "deploy waiting_human");
    house.deliver().await;
    let before = house.main();
    receive(&house, confirmed).await;
    apply(&house).await;
    house.run_all().await;
    assert_eq!(
        (house.stands(task).await.as_str(), house.main()),
        ("deploy waiting_human", before)
    );
    plane.drag(&issue, "Confirm Deploy", "ann");
    arrive(&house, &plane).await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

#[tokio::test]
async fn a_plane_that_answers_slowly_holds_up_nothing_that_the_forge_told() {
    let (house, plane) = house(Backend::Sqlite, SHORT).await;
    plane.webhooks(Version::Second, "s");
    for n in 0..3 {
        let issue = plane.issue(PROJECT, &format!("Issue {n}"));
        plane.drag(&issue, "In Progress", "ann");
    }
    receive(&house, plane.mail()).await;
    let status = NewDelivery {
        source: Source::Forge,
        delivery: "status".to_owned(),
        digest: "status".to_owned(),
        event: "status".to_owned(),
        event_type: "status".to_owned(),
        body:
            r#"{"sha": "d555a5dd07f4d0148a58d4686ec381502ae6a2d4", "repository": {"full_name": "team/app"}}"#
                .to_owned(),
    };
    inbox::receive(&house.engine, status).await.unwrap();
    plane.take_seen();
    plane.slow(1, Duration::from_secs(3600));
    local(async {
        let engine = house.engine.clone();
        let applying = tokio::task::spawn_local(async move { inbox::apply(&engine).await });
        let deadline = std::time::Instant::now() + super::house::PATIENCE;
        loop {
            let found = listed(&house).await;
            let of = |source: &str| -> Vec<_> {
                let of_it = found.iter().filter(|d| d.source == source);
                of_it.map(|d| d.status.as_str()).collect()
            };
            if of("forge") == ["ignored"] {
                assert!(of("plane").iter().all(|status| *status == "pending"), "{found:?}");
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{found:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        applying.abort();
    })
    .await;
}

on_both!(
    a_task_is_made_once_from_its_issue_however_often_it_is_told,
    a_task_has_its_issues_number_where_that_is_free,
    what_orch_writes_comes_back_and_asks_for_nothing,
    the_gate_of_people_is_opened_and_work_goes_back_with_their_words,
    of_two_decisions_the_later_one_counts_whichever_comes_first,
    a_task_ends_with_its_issue,
    a_deleted_issue_ends_its_task_though_plane_tells_nobody,
    a_deploy_is_confirmed_by_who_was_asked_and_never_in_arrears,
    what_no_webhook_told_is_found_on_the_board_once,
    a_board_is_read_to_where_it_was_read_before,
    a_decision_that_no_delivery_told_is_not_written_over,
    a_delivery_that_needs_plane_waits_until_it_answers,
    what_concerns_nobody_is_kept_with_the_reason,
    what_could_not_be_done_when_it_was_found_is_found_again,
    a_delivery_behind_one_that_waits_does_not_hurry_it,
    a_gesture_counts_though_the_issue_has_another_state_by_now,
    whatever_a_person_asks_for_is_done_before_it_is_written_over,
    a_confirmation_of_another_candidate_deploys_nothing_however_the_clocks_go,
);
