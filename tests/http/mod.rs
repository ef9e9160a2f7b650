//! The HTTP face over a real socket.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use actix_web::{App, HttpServer, web};
use orch::http::body::{Body, BodyLimit};
use orch::http::error::Problem;
use orch::http::wait::{self, Look};
use serde_json::{Value, json};
use tokio::sync::watch;

type Changes = watch::Sender<u64>;

/// A long poll for the first change, over what the engine offers: a counter that grows.
async fn first_change(changes: web::Data<Changes>) -> Result<web::Json<u64>, Problem> {
    let seen = wait::until(changes.subscribe(), Duration::from_secs(30), async || {
        let n = *changes.borrow();
        Ok::<_, Problem>(if n > 0 {
            Look::Something(n)
        } else {
            Look::Nothing(n)
        })
    });
    seen.await.map(web::Json)
}

/// Serves that route and one that takes a body of at most a kilobyte.
fn serve(changes: web::Data<Changes>) -> SocketAddr {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(changes.clone())
            .app_data(web::Data::new(BodyLimit(1024)))
            .route("/change", web::get().to(first_change))
            .route(
                "/echo",
                web::post().to(async |body: Body<Value>| web::Json(body.0)),
            )
    });
    let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0];
    actix_rt::spawn(server.run());
    address
}

#[actix_rt::test]
async fn a_long_poll_is_answered_when_something_changes() {
    let changes = web::Data::new(watch::channel(0).0);
    let address = serve(changes.clone());
    let began = Instant::now();
    let poll = actix_rt::spawn(async move {
        let mut answer = awc::Client::default()
            .get(format!("http://{address}/change"))
            .send()
            .await
            .unwrap();
        answer.json::<u64>().await.unwrap()
    });
    let waits = async {
        while changes.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waits)
        .await
        .unwrap();
    changes.send_modify(|n| *n += 1);
    assert_eq!(poll.await.unwrap(), 1);
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "it waited for its time to be up"
    );
}

#[actix_rt::test]
async fn a_body_past_the_limit_is_refused_and_the_connection_goes_on() {
    let address = serve(web::Data::new(watch::channel(0).0));
    let client = awc::Client::default();
    let echo = async |body: Value| {
        client
            .post(format!("http://{address}/echo"))
            .send_json(&body)
            .await
            .unwrap()
    };
    let mut refused = echo(json!({"x": "y".repeat(100_000)})).await;
    assert_eq!(refused.status(), 413);
    assert_eq!(
        refused.headers().get("content-type").unwrap(),
        "application/problem+json"
    );
    let problem: Value = serde_json::from_slice(&refused.body().await.unwrap()).unwrap();
    assert_eq!(
        (&problem["type"], &problem["status"]),
        (&json!("about:blank"), &json!(413))
    );
    assert!(problem["detail"].as_str().unwrap().contains("1024 bytes"));
    assert_eq!(echo(json!({"x": 1})).await.status(), 200);
}
