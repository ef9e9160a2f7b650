//! Notices reach their receivers once, in order, and one that is down holds up nobody else.

use std::collections::VecDeque;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmac::{Hmac, Mac};
use orch::domain::id::TaskId;
use orch::engine::views::NoticeView;
use orch::engine::{EngineError, deliver};
use serde_json::Value;

use super::house::{House, Plan, SHORT};
use crate::support::{Asked, FakeService, Reply};

const TOKEN: &str = "123:abcdef";
const DAY: Duration = Duration::from_secs(86_400);

/// A receiver that gives these answers, one after the other, and then 200.
fn receiver(answers: Vec<Reply>) -> FakeService {
    let answers = Mutex::new(VecDeque::from(answers));
    FakeService::new(move |_| {
        let next = answers.lock().unwrap().pop_front();
        next.unwrap_or_else(|| Reply::new(200, r#"{"ok":true}"#))
    })
}

/// An address where nobody answers.
fn nobody() -> String {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", free.local_addr().unwrap())
}

/// A house whose people are told by a webhook and a Telegram chat.
async fn house(webhook: &str, telegram: &str) -> House {
    Plan::new(SHORT)
        .set(&format!("notify.webhook_url = '{webhook}/hook'"))
        .set("notify.webhook_secret = 'hush'")
        .set(&format!("telegram.base_url = '{telegram}'"))
        .set(&format!("telegram.bot_token = '{TOKEN}'"))
        .set("telegram.chat_id = '-100'")
        .build()
        .await
}

/// A notification of the task, caused now.
fn caused(house: &House, task: TaskId, cause: &str) {
    notice(house, task, cause, ("notification", "people"));
}

fn notice(house: &House, task: TaskId, cause: &str, (kind, channel): (&str, &str)) {
    let now = house.engine.now().0;
    house.sql(&format!(
        "INSERT INTO outbox (task_id, cause, kind, channel, payload, status, available_at, created_at) VALUES \
         ({task}, '{cause}', '{kind}', '{channel}', \
          '{{\"about\":\"done\",\"task\":\"SHOP-001\",\"text\":\"<{cause}>\",\"body\":\"said\"}}', \
          'pending', {now}, {now})"
    ));
}

fn texts(asked: &[Asked]) -> Vec<String> {
    let text = |asked: &Asked| {
        let body: Value = serde_json::from_str(&asked.body).unwrap();
        body["text"].as_str().unwrap().to_owned()
    };
    asked.iter().map(text).collect()
}

async fn listed(house: &House) -> Vec<NoticeView> {
    deliver::list(&house.engine).await.unwrap()
}

#[tokio::test]
async fn each_channel_is_told_once_and_the_webhook_can_check_who_speaks() {
    let (webhook, telegram) = (receiver(vec![]), receiver(vec![]));
    let house = house(&webhook.url, &telegram.url).await;
    let task = house.add("Search").await;
    house.deliver().await;
    caused(&house, task, "first");
    let (told, trouble) = house.delivered().await;
    assert_eq!(told, [("done".to_owned(), "<first>".to_owned())]);
    assert!(trouble.is_empty(), "{trouble:?}");
    caused(&house, task, "second");
    house.deliver().await;
    assert_eq!(listed(&house).await, []);

    assert_eq!(texts(&webhook.asked()), ["<first>", "<second>"]);
    let first = &webhook.asked()[0];
    assert_eq!(first.line, "POST /hook");
    assert_eq!(first.header("idempotency-key"), Some("first"));
    assert_eq!(first.header("content-type"), Some("application/json"));
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"hush").unwrap();
    mac.update(first.body.as_bytes());
    let digest: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(first.header("x-orch-signature"), Some(digest.as_str()));
    let body: Value = serde_json::from_str(&first.body).unwrap();
    assert_eq!(
        (&body["id"], &body["task"]),
        (&"first".into(), &"SHOP-001".into())
    );

    assert_eq!(texts(&telegram.asked()), ["&lt;first&gt;", "&lt;second&gt;"]);
    let message = &telegram.asked()[0];
    assert_eq!(message.line, format!("POST /bot{TOKEN}/sendMessage"));
    let body: Value = serde_json::from_str(&message.body).unwrap();
    assert_eq!(
        (&body["chat_id"], &body["parse_mode"]),
        (&"-100".into(), &"HTML".into())
    );
}

#[tokio::test]
async fn a_receiver_that_is_down_holds_up_nobody_else_and_gets_all_in_order_later() {
    let telegram = receiver(vec![]);
    let dead = nobody();
    let house = house(&dead, &telegram.url).await;
    let task = house.add("Search").await;
    for cause in ["first", "second"] {
        caused(&house, task, cause);
        notice(&house, task, &format!("comment {cause}"), ("comment", "tracker"));
    }
    let other = house.add("Other").await;
    caused(&house, other, "third");
    let (told, trouble) = house.delivered().await;
    let words = told
        .iter()
        .map(|(_, text)| text.as_str())
        .filter(|t| t.starts_with('<'));
    assert_eq!(words.collect::<Vec<_>>(), ["<first>", "<third>", "<second>"]);
    assert!(texts(&telegram.asked()).contains(&"&lt;second&gt;".to_owned()));
    assert_eq!(house.count("comments"), 2, "the issue is told all the same");
    assert_eq!(trouble.len(), 1, "{trouble:?}");
    assert!(trouble[0].contains("webhook"), "{trouble:?}");
    let waiting = listed(&house).await;
    assert!(
        waiting
            .iter()
            .all(|n| n.channel == "webhook" && n.status == "pending")
    );

    // Asked again at its time and not before, by one request each time.
    let seen = Arc::new(FakeService::on(
        TcpListener::bind(dead.trim_start_matches("http://")).unwrap(),
        |_| Reply::new(204, ""),
    ));
    house.deliver().await;
    assert!(seen.asked().is_empty());
    house.later(Duration::from_secs(6));
    house.deliver().await;
    let got = texts(&seen.asked());
    // The one that was tried comes last of those that waited together.
    assert_eq!(got[got.len() - 3..], ["<third>", "<first>", "<second>"]);
    assert_eq!(listed(&house).await, []);
}

#[tokio::test]
async fn a_receiver_that_asks_for_time_is_given_it() {
    let webhook = receiver(vec![Reply::new(503, "").header("Retry-After", "120")]);
    let telegram = receiver(vec![Reply::new(
        429,
        r#"{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 60","parameters":{"retry_after":60}}"#,
    )]);
    let house = house(&webhook.url, &telegram.url).await;
    let task = house.add("Search").await;
    caused(&house, task, "first");
    let (_, trouble) = house.delivered().await;
    assert_eq!(trouble.len(), 2, "{trouble:?}");
    assert!(
        trouble.iter().any(|line| line.contains("Too Many Requests")),
        "{trouble:?}"
    );
    assert!(!trouble.concat().contains(TOKEN), "{trouble:?}");
    let asked = || (webhook.asked().len(), telegram.asked().len());
    let mut seen = Vec::new();
    for wait in [59, 2, 58, 2] {
        house.later(Duration::from_secs(wait));
        house.deliver().await;
        seen.push(asked());
    }
    assert_eq!(seen, [(1, 1), (1, 2), (1, 2), (2, 2)]);
    assert_eq!(listed(&house).await, []);
}

#[tokio::test]
async fn what_a_receiver_refuses_is_listed_and_can_be_sent_again() {
    let webhook = receiver(vec![Reply::new(400, "no")]);
    let house = house(&webhook.url, &receiver(vec![]).url).await;
    let task = house.add("Search").await;
    for cause in ["first", "second"] {
        caused(&house, task, cause);
    }
    house.deliver().await;
    assert_eq!(
        texts(&webhook.asked()),
        ["<first>", "<second>"],
        "the next one goes on"
    );
    let dead = listed(&house).await;
    assert_eq!(dead.len(), 1);
    assert_eq!(
        (dead[0].status.as_str(), dead[0].error.as_deref()),
        ("dead", Some("HTTP 400"))
    );
    deliver::resend(&house.engine, dead[0].id).await.unwrap();
    let again = deliver::resend(&house.engine, dead[0].id).await.unwrap_err();
    assert!(again.to_string().contains("was not given up"), "{again}");
    house.deliver().await;
    assert_eq!(texts(&webhook.asked()), ["<first>", "<second>", "<first>"]);
    assert_eq!(listed(&house).await, []);
}

#[tokio::test]
async fn a_chat_that_is_missing_is_a_matter_of_the_settings_and_not_of_the_message() {
    let missing = r#"{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}"#;
    let telegram = receiver(vec![Reply::new(400, missing)]);
    let house = house(&receiver(vec![]).url, &telegram.url).await;
    let task = house.add("Search").await;
    caused(&house, task, "first");
    house.deliver().await;
    assert_eq!(listed(&house).await[0].status, "pending");
    house.later(Duration::from_secs(6));
    house.deliver().await;
    assert_eq!(listed(&house).await, []);
}

#[tokio::test]
async fn a_chat_that_never_answers_sees_a_message_twice_at_most() {
    // With the rest unread the connection is reset, else it ends: the sender is told in two ways.
    for reads in [16, 64 * 1024] {
        is_told_twice_at_most(reads).await;
    }
}

/// Takes so much of a request, and hangs up.
async fn is_told_twice_at_most(reads: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(0));
    let counted = requests.clone();
    std::thread::spawn(move || {
        use std::io::Read as _;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut begun = vec![0; reads];
            if stream.read(&mut begun).unwrap() > 0 {
                *counted.lock().unwrap() += 1;
            }
        }
    });
    let house = house(&receiver(vec![]).url, &url).await;
    let task = house.add("Search").await;
    caused(&house, task, "first");
    for _ in 0..5 {
        house.deliver().await;
        house.later(DAY / 2);
    }
    assert_eq!(*requests.lock().unwrap(), 2);
    let dead = listed(&house).await;
    assert_eq!(dead[0].status, "dead");
    assert!(
        dead[0].error.as_deref().unwrap().contains("it may have arrived"),
        "{dead:?}"
    );
}

#[tokio::test]
async fn what_found_no_receiver_for_days_is_given_up() {
    let house = house(&nobody(), &receiver(vec![]).url).await;
    let task = house.add("Search").await;
    caused(&house, task, "first");
    house.deliver().await;
    house.later(DAY * 6);
    house.deliver().await;
    assert_eq!(listed(&house).await[0].status, "pending");
    house.later(DAY);
    house.deliver().await;
    let dead = listed(&house).await;
    assert_eq!(dead[0].status, "dead");
    assert!(
        dead[0]
            .error
            .as_deref()
            .unwrap()
            .starts_with("not delivered within 7 days"),
        "{dead:?}"
    );
}

#[tokio::test]
async fn a_notice_that_a_receiver_never_takes_does_not_keep_the_others_from_it() {
    let webhook = FakeService::new(|asked| match asked.body.contains("poison") {
        true => Reply::new(500, ""),
        false => Reply::new(204, ""),
    });
    let house = house(&webhook.url, &receiver(vec![]).url).await;
    for cause in ["poison", "second", "third"] {
        let task = house.add(cause).await;
        caused(&house, task, cause);
    }
    house.deliver().await;
    assert_eq!(texts(&webhook.asked()), ["<poison>"]);
    house.later(Duration::from_secs(6));
    house.deliver().await;
    assert_eq!(
        texts(&webhook.asked()),
        ["<poison>", "<second>", "<third>", "<poison>"]
    );
}

#[tokio::test]
async fn what_is_caused_while_a_receiver_is_left_alone_waits_with_the_rest() {
    let webhook = receiver(vec![Reply::new(503, "").header("Retry-After", "120")]);
    let house = house(&webhook.url, &receiver(vec![]).url).await;
    let (one, two) = (house.add("One").await, house.add("Two").await);
    caused(&house, one, "first");
    house.deliver().await;
    house.later(Duration::from_secs(60));
    caused(&house, two, "second");
    house.deliver().await;
    assert_eq!(texts(&webhook.asked()), ["<first>"]);
    house.later(Duration::from_secs(61));
    house.deliver().await;
    assert_eq!(texts(&webhook.asked()).len(), 3);
}

#[tokio::test]
async fn a_message_whose_sender_died_twice_is_not_sent_a_third_time() {
    let telegram = receiver(vec![]);
    let house = house(&receiver(vec![]).url, &telegram.url).await;
    let task = house.add("Search").await;
    caused(&house, task, "first");
    // What two deaths between sending and record leave behind.
    house.sql("UPDATE outbox SET channel = 'telegram', unanswered = 2 WHERE cause = 'first'");
    house.deliver().await;
    assert!(telegram.asked().is_empty());
    assert_eq!(listed(&house).await[0].status, "dead");
    house.sql("UPDATE outbox SET status = 'pending', unanswered = 1 WHERE cause = 'first'");
    house.deliver().await;
    assert_eq!(texts(&telegram.asked()).len(), 1);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_stands_in_nobodys_way() {
    let webhook = receiver(vec![]);
    let house = house(&webhook.url, &receiver(vec![]).url).await;
    let task = house.add("Search").await;
    for cause in ["first", "second"] {
        caused(&house, task, cause);
    }
    house.sql("UPDATE outbox SET payload = 'no' WHERE cause = 'first'");
    house.deliver().await;
    assert_eq!(texts(&webhook.asked()), ["<second>"]);
    let dead = listed(&house).await;
    assert_eq!(dead.len(), 1, "{dead:?}");
    let dead = &dead[0];
    assert_eq!(
        (
            dead.status.as_str(),
            dead.channel.as_str(),
            dead.cause.as_str(),
            dead.text.as_str()
        ),
        ("dead", "people", "first", "no")
    );
    let why = dead.error.clone().unwrap();
    let cell = format!("outbox {} cannot be read: payload: ", dead.id);
    assert!(
        why.starts_with(&cell) && why.ends_with("correct or remove that row"),
        "{why}"
    );

    // It is not sent again only to be given up again.
    let before = house.dump();
    let refused = deliver::resend(&house.engine, dead.id).await;
    assert!(
        matches!(&refused, Err(EngineError::Conflict { what })
            if *what == format!("notice {} is not sent: {why}", dead.id)),
        "{refused:?}"
    );
    assert_eq!(house.dump(), before);
    house.sql("UPDATE outbox SET payload = '{\"text\":\"<mended>\"}' WHERE cause = 'first'");
    deliver::resend(&house.engine, dead.id).await.unwrap();
    house.deliver().await;
    assert_eq!(texts(&webhook.asked()), ["<second>", "<mended>"]);
    assert_eq!(listed(&house).await, []);
}
