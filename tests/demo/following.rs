//! The demo follows a task to its end and makes a person's gestures, against a service that plays a script.

use std::time::{Duration, Instant};

use orch::cli::demo::api::Api;
use orch::cli::demo::drive::{Drive, Person, Stop};
use orch::cli::demo::show::Show;

use super::fake_service::{FakeService, Scene};

fn scene(stage: &'static str, status: &'static str) -> Scene {
    Scene {
        stage,
        status,
        reason: None,
        leads_on: None,
    }
}

fn gate(stage: &'static str, leads_on: &'static str) -> Scene {
    Scene {
        leads_on: Some(leads_on),
        ..scene(stage, "waiting_human")
    }
}

/// How it ended, the gestures made, and the stages seen.
type Followed = (Result<(), Stop>, Vec<String>, Vec<String>);

fn follow(scenes: &[Scene], limit: Duration, person: Person) -> Followed {
    follow_service(&FakeService::playing(scenes), limit, person)
}

fn follow_service(service: &FakeService, limit: Duration, person: Person) -> Followed {
    actix_rt::System::new().block_on(async {
        let api = Api::new(&service.start(), "/nonexistent/api-token".into());
        let show = Show::Json;
        let mut drive = Drive::new(&api, &show, Instant::now(), "DEMO-001".into(), person);
        drive.limit = Some(limit);
        let end = drive.to_the_end().await;
        (end, service.gestures(), drive.stages.names())
    })
}

const PLENTY: Duration = Duration::from_secs(20);

#[test]
fn the_demo_answers_at_both_human_gates_and_nowhere_else() {
    let scenes = [
        scene("analysis", "active"),
        gate("analysis", "approved"),
        scene("development", "active"),
        gate("deploy", "confirm-deploy"),
        scene("done", "done"),
    ];
    let (end, gestures, stages) = follow(&scenes, PLENTY, Person::Demo);
    end.unwrap();
    assert_eq!(gestures, ["approved", "confirm-deploy"]);
    assert_eq!(stages, ["analysis", "development", "deploy", "done"]);
}

#[test]
fn a_void_confirmation_is_given_again_when_it_is_asked_for_again() {
    let scenes = [
        gate("deploy", "confirm-deploy"),
        gate("deploy", "confirm-deploy"),
        scene("done", "done"),
    ];
    let (end, gestures, _) = follow(&scenes, PLENTY, Person::Demo);
    end.unwrap();
    assert_eq!(gestures, ["confirm-deploy", "confirm-deploy"]);
}

#[test]
fn a_blocked_task_ends_the_demo_with_its_reason() {
    let blocked = Scene {
        reason: Some("escalated after 3 retries"),
        ..scene("development", "blocked")
    };
    let (end, _, _) = follow(&[blocked], PLENTY, Person::Demo);
    assert_eq!(
        end.unwrap_err().to_string(),
        "the task is blocked: escalated after 3 retries"
    );
}

#[test]
fn a_task_that_never_ends_is_given_up_at_the_limit() {
    let (end, _, _) = follow(
        &[scene("review", "active")],
        Duration::from_millis(200),
        Person::Demo,
    );
    assert!(matches!(end, Err(Stop::TooLong(_))), "{end:?}");
}

#[test]
fn with_a_person_the_demo_makes_no_gesture_by_itself() {
    let person = Person::Real {
        typed: None,
        command: "orch".into(),
    };
    let (end, gestures, _) = follow(
        &[gate("analysis", "approved")],
        Duration::from_millis(200),
        person,
    );
    assert!(matches!(end, Err(Stop::TooLong(_))), "{end:?}");
    assert!(gestures.is_empty());
}

#[test]
fn what_a_person_types_is_their_gesture() {
    let scenes = [
        gate("analysis", "rejected"),
        gate("analysis", "approved"),
        scene("done", "done"),
    ];
    let (send, typed) = tokio::sync::mpsc::unbounded_channel();
    let person = Person::Real {
        typed: Some(typed),
        command: "orch".into(),
    };
    let service = FakeService::playing(&scenes);
    let played = service.clone();
    // What is typed before a question does not answer it, so the same is typed until the service has heard it.
    let typing = std::thread::spawn(move || {
        loop {
            let answer = if played.gestures().is_empty() {
                "n too vague"
            } else {
                "y"
            };
            if send.send(answer.to_owned()).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let (end, gestures, _) = follow_service(&service, PLENTY, person);
    end.unwrap();
    typing.join().unwrap();
    assert_eq!(gestures.first().map(String::as_str), Some("rejected: too vague"));
    assert_eq!(gestures.last().map(String::as_str), Some("approved"));
}
