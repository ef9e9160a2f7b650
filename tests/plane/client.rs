//! The client against the fake Plane.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use orch::domain::pipeline::Role;
use orch::domain::time::Timestamp;
use orch::integrations::tracker::plane::{NewComment, Plane, PlaneError, Shared, Wanted};
use orch::settings::{LoadOptions, Settings};
use serde_json::json;

use crate::support::fake_plane::{FakePlane, KEY, PROJECT, WORKSPACE};

/// Later than what the fake tells of its limit would allow, never.
fn now() -> Timestamp {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    Timestamp(i64::try_from(now.as_micros()).unwrap())
}

fn settings(url: &str, more: &[(&str, &str)]) -> Settings {
    let mut env = vec![
        ("ORCH_PLANE_URL".to_owned(), url.to_owned()),
        ("ORCH_PLANE_API_TOKEN".into(), KEY.into()),
        ("ORCH_PLANE_WORKSPACE".into(), WORKSPACE.into()),
    ];
    env.extend(more.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
    let options = LoadOptions {
        config_file: None,
        env,
        cwd: PathBuf::from("/"),
    };
    Settings::load(options).unwrap().0
}

fn client_of(settings: &Settings) -> Plane {
    Plane::of(settings, &Shared::of(settings)).unwrap()
}

fn client(plane: &FakePlane) -> Plane {
    client_of(&settings(&plane.url, &[]))
}

fn comment<'a>(issue: &'a str, external_id: &'a str) -> NewComment<'a> {
    NewComment {
        project: PROJECT,
        issue,
        external_id,
        author: "developer",
        body: "done",
    }
}

async fn change(client: &Plane, issue: &str, state: &str) -> Result<bool, PlaneError> {
    match client.want_state(PROJECT, issue, state, now()).await? {
        Wanted::There { .. } | Wanted::NoSuchState => Ok(false),
        Wanted::Change(change) => {
            assert!(client.set_state(&change, now()).await?.is_some());
            Ok(true)
        }
    }
}

#[actix_rt::test]
async fn a_state_is_written_by_its_name_and_not_when_it_is_there_already() {
    let plane = FakePlane::new();
    let (client, issue) = (client(&plane), plane.issue(PROJECT, "Search"));
    assert!(change(&client, &issue, "in progress ").await.unwrap());
    assert_eq!(plane.state_of(&issue), "In Progress");
    assert!(!change(&client, &issue, "In Progress").await.unwrap());
    assert_eq!(
        plane.take_seen(),
        [
            "GET states 200",
            "GET work-items 200",
            "PATCH work-items 200",
            "GET work-items 200"
        ],
        "the states are read once"
    );
}

#[actix_rt::test]
async fn a_name_that_the_board_lacks_switches_its_path_off_until_it_is_there() {
    let plane = FakePlane::new();
    let (client, issue) = (client(&plane), plane.issue(PROJECT, "Search"));
    let at = |s| now() + Duration::from_secs(s);
    let id = async |s| client.state_id(PROJECT, "Shipped", at(s)).await.unwrap();
    assert!(id(0).await.is_none());
    assert!(!change(&client, &issue, "Shipped").await.unwrap());
    assert_eq!(
        plane.take_seen(),
        ["GET states 200"],
        "not looked for at each turn"
    );
    plane.add_state(PROJECT, "Shipped");
    assert_eq!(id(40).await, Some(plane.state_id(PROJECT, "Shipped")));
    let id = plane.state_id(PROJECT, "Shipped");
    assert_eq!(
        client.state_name(PROJECT, &id, at(41)).await.unwrap().as_deref(),
        Some("Shipped")
    );
    assert_eq!(client.state_name(PROJECT, "other", at(42)).await.unwrap(), None);
}

#[actix_rt::test]
async fn all_pages_are_read_and_no_more() {
    let plane = FakePlane::new();
    plane.rate_limit(None);
    let client = client(&plane);
    let all: Vec<_> = (0..230).map(|n| plane.issue(PROJECT, &format!("n{n}"))).collect();
    plane.drag(&all[3], "Done", "dev");
    plane.drag(&all[205], "Done", "dev");
    let done = plane.state_id(PROJECT, "Done");
    let found = client
        .work_items(PROJECT, |item| item.state.as_ref() == Some(&done), None, &now)
        .await
        .unwrap();
    let ids: Vec<_> = found.iter().map(|i| i.id.as_str()).collect();
    assert_eq!(ids, [all[205].as_str(), all[3].as_str()]);
    let cursors: Vec<_> = plane
        .seen()
        .iter()
        .map(|s| s.asked("cursor").map(str::to_owned))
        .collect();
    assert_eq!(cursors, [None, Some("100:1:0".into()), Some("100:2:0".into())]);
}

#[actix_rt::test]
async fn a_comment_is_left_once_however_often_and_whatever_became_of_the_answers() {
    let plane = FakePlane::new();
    let (client, issue) = (client(&plane), plane.issue(PROJECT, "Search"));
    client.comment(&comment(&issue, "c-1"), now()).await.unwrap();
    client.comment(&comment(&issue, "c-1"), now()).await.unwrap();
    plane.half_answer(1);
    let broken = client.comment(&comment(&issue, "c-2"), now()).await;
    assert!(
        matches!(broken, Ok(()) | Err(PlaneError::Unanswered { .. })),
        "{broken:?}"
    );
    client.comment(&comment(&issue, "c-2"), now()).await.unwrap();
    let comments = plane.comments(&issue);
    assert_eq!(comments.len(), 2);
    assert_eq!(comments[1]["external_id"], json!("c-2"));
    assert_eq!(comments[1]["external_source"], json!("orch"));
}

#[actix_rt::test]
async fn a_request_whose_connection_is_gone_is_sent_once_more_and_not_twice() {
    let plane = FakePlane::new();
    let (client, issue) = (client(&plane), plane.issue(PROJECT, "Search"));
    client.comment(&comment(&issue, "c-1"), now()).await.unwrap();
    plane.drop_answer(1);
    client.comment(&comment(&issue, "c-2"), now()).await.unwrap();
    assert_eq!(
        plane.take_seen(),
        ["POST comments 201", "POST comments -", "POST comments 409"]
    );
    plane.drop_connection(2);
    let gone = client.work_item(PROJECT, &issue, now()).await;
    assert!(matches!(gone, Err(PlaneError::Unanswered { .. })), "{gone:?}");
    assert_eq!(plane.take_seen().len(), 2);
    assert_eq!(plane.comments(&issue).len(), 2);
}

#[actix_rt::test]
async fn the_limit_of_a_key_is_never_hit_however_many_share_it() {
    let plane = FakePlane::new();
    let issue = plane.issue(PROJECT, "Search");
    let settings = settings(&plane.url, &[]);
    let shared = Shared::of(&settings);
    let callers = [(); 3].map(|()| Plane::of(&settings, &shared).unwrap());
    let asked = (0..90).map(|n| callers[n % 3].work_item(PROJECT, &issue, now()));
    let answers = futures_util::future::join_all(asked).await;
    let limited = |a: &Result<_, _>| matches!(a, Err(PlaneError::Limited { .. }));
    assert_eq!(answers.iter().filter(|a| a.is_ok()).count(), 60);
    assert_eq!(answers.iter().filter(|a| limited(a)).count(), 30);
    assert!(plane.seen().iter().all(|s| s.status == Some(200)), "no 429");
}

#[actix_rt::test]
async fn what_others_use_of_the_key_is_left_to_them_and_a_refusal_is_heeded() {
    let plane = FakePlane::new();
    let (client, issue) = (client(&plane), plane.issue(PROJECT, "Search"));
    plane.rate_limit(Some(2));
    for _ in 0..2 {
        client.work_item(PROJECT, &issue, now()).await.unwrap();
    }
    let held = client.work_item(PROJECT, &issue, now()).await;
    assert!(matches!(held, Err(PlaneError::Limited { .. })), "{held:?}");
    assert_eq!(plane.take_seen().len(), 2, "the third was not sent");

    let other = FakePlane::new();
    let (client, issue) = (self::client(&other), other.issue(PROJECT, "Search"));
    other.rate_limit(Some(0));
    let began = now();
    for _ in 0..2 {
        let held = client.work_item(PROJECT, &issue, began).await;
        let Err(PlaneError::Limited { after, .. }) = held else {
            unreachable!("{held:?}");
        };
        assert_eq!(after.as_secs(), 31);
    }
    assert_eq!(other.take_seen(), ["GET work-items 429"]);
}

#[actix_rt::test]
async fn an_error_says_where_what_and_which_setting_and_never_the_key() {
    let plane = FakePlane::new();
    let issue = plane.issue(PROJECT, "Search");
    let wrong = settings(
        &plane.url,
        &[("ORCH_PLANE_TOKEN_REVIEWER", "wrong-key-of-reviewer")],
    );
    let client = client_of(&wrong);
    let reviewer = client.speaking_as(Role::Reviewer);
    let path = format!(
        "{}/api/v1/workspaces/acme/projects/{PROJECT}/work-items/{issue}/",
        plane.url
    );
    let said = async |plane: &Plane, issue: &str| {
        plane
            .work_item(PROJECT, issue, now())
            .await
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        said(&reviewer, &issue).await,
        format!(
            "{path} answered HTTP 403: the API token in plane.token_reviewer is wrong or has no right to this; set another one"
        )
    );
    client
        .speaking_as(Role::Developer)
        .work_item(PROJECT, &issue, now())
        .await
        .unwrap();
    plane.fail_next(1, 502);
    assert_eq!(
        said(&client, &issue).await,
        format!("{path} answered HTTP 502: {{\"error\":\"trouble\"}}")
    );
    assert!(said(&client, "gone").await.contains("plane.workspace"));
    assert_eq!(
        said(&client, "../x").await,
        "the issue \"../x\" is no id of Plane's"
    );
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = client_of(&settings(&format!("http://{free}"), &[]));
    assert!(said(&nobody, &issue).await.contains("cannot be reached"));
}

#[actix_rt::test]
async fn what_a_person_said_last_is_found_behind_what_orch_said() {
    let plane = FakePlane::new();
    let (client, issue) = (client(&plane), plane.issue(PROJECT, "Search"));
    assert_eq!(client.last_word(PROJECT, &issue, now()).await.unwrap(), None);
    plane.say(&issue, "<p>first</p>");
    plane.say(&issue, "<p>not <b>so</b></p>");
    client.comment(&comment(&issue, "c-1"), now()).await.unwrap();
    let word = client.last_word(PROJECT, &issue, now()).await.unwrap().unwrap();
    assert_eq!(
        (word.text.as_str(), word.by.as_deref()),
        ("not so", Some("a-person"))
    );
}
