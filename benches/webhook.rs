//! What taking a signed webhook in costs: request, signature, a durable row, the answer; against the same handler without
//! the row, in the same run, at 1 and at 64 connections, and beside 200,000 stored deliveries. `cargo bench --bench webhook`
//!
//! The server, its handlers and SQLite on disk are the real ones. Sender and service share the machine and the process.
#![expect(clippy::print_stdout, reason = "its table is what it is for")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use anyhow::{Context as _, Result, ensure};
use hmac::{Hmac, Mac as _};
use orch::actors::now;
use orch::agents::{Presets, Prices};
use orch::domain::id::InstanceId;
use orch::domain::inbox::Source;
use orch::engine::{Engine, Parts};
use orch::http::body::BodyLimit;
use orch::http::error::Problem;
use orch::http::webhooks::{self, Secrets};
use orch::settings::{LoadOptions, Settings};
use orch::store::inbox::{self, NewDelivery};
use orch::store::{Store, StoreError};
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const SECRET: &str = "a secret of the bench";
const STORED: usize = 200_000;
const FOR: Duration = Duration::from_secs(4);

/// The handler without the row.
async fn without(
    req: HttpRequest,
    payload: web::Payload,
    secrets: web::Data<Secrets>,
) -> Result<HttpResponse, Problem> {
    let new = webhooks::read_forge(&req, payload, &secrets).await?;
    Ok(HttpResponse::Accepted().json(serde_json::json!({ "id": new.body.len(), "duplicate": false })))
}

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(
        folder.path().join("orch.toml"),
        format!(
            "data_dir = {:?}\ngitea.webhook_secret = {SECRET:?}\n",
            folder.path().join("data")
        ),
    )?;
    let options = LoadOptions {
        config_file: Some(folder.path().join("orch.toml")),
        cwd: folder.path().to_owned(),
        ..LoadOptions::default()
    };
    let (settings, _) = Settings::load(options)?;
    let settings = Arc::new(settings);
    let store = Store::open(&folder.path().join("orch.db").display().to_string())?;
    let (hints, _told) = mpsc::unbounded_channel();
    let engine = Engine::new(Parts {
        store: store.clone(),
        settings: settings.clone(),
        projects: BTreeMap::new(),
        names: BTreeMap::new(),
        instance: InstanceId::trusted("bench"),
        exe: env!("CARGO_BIN_EXE_orch").into(),
        presets: Presets::builtin()?,
        prices: Prices::load(None)?,
        hints,
        clock: Arc::new(now),
    });
    let address = serve(engine, &settings)?;
    println!(
        "{:<44} {:>10} {:>9} {:>9} {:>7}  target",
        "signed webhook, SQLite, synchronous=FULL", "per second", "p50 ms", "p99 ms", "ratio"
    );
    let mut few = 0.0;
    for (stored, connections) in [(0, 1), (0, 64), (STORED, 64)] {
        fill(&store, stored)?;
        let plain = load(address, "/without", connections)?;
        let durable = load(address, "/webhook/gitea", connections)?;
        row(
            &format!("{connections} connections, without the row"),
            &plain,
            None,
            "",
        );
        let ratio = durable.per_second / plain.per_second;
        let target = if connections == 64 { ">= 0.5" } else { "" };
        let what = match stored {
            0 => format!("{connections} connections"),
            stored => format!("{connections} connections, {stored} stored"),
        };
        row(&what, &durable, Some(ratio), target);
        match (stored, connections) {
            (0, 64) => few = durable.per_second,
            (0, _) => {}
            (_, _) => println!(
                "beside {stored} stored deliveries: {:.2} of the rate without",
                durable.per_second / few
            ),
        }
    }
    store.close_blocking();
    Ok(())
}

/// Two threads that answer, as the service has them.
fn serve(engine: Engine, settings: &Settings) -> Result<SocketAddr> {
    let secrets = web::Data::new(Secrets::of(settings));
    let engine = web::Data::new(engine);
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        actix_rt::System::new().block_on(async move {
            let server = HttpServer::new(move || {
                App::new()
                    .app_data(secrets.clone())
                    .app_data(engine.clone())
                    .app_data(web::Data::new(BodyLimit(1024 * 1024)))
                    .configure(webhooks::routes)
                    .route("/without", web::post().to(without))
            });
            let server = server.workers(2).disable_signals().bind("127.0.0.1:0")?;
            let _ = sender.send(server.addrs().first().copied());
            server.run().await
        })
    });
    receiver.recv()?.context("it does not listen")
}

/// Deliveries that were applied, as many as that.
fn fill(store: &Store, stored: usize) -> Result<()> {
    for begin in (0..stored).step_by(5_000) {
        let rows: Vec<NewDelivery> = (begin..begin + 5_000)
            .map(|n| NewDelivery {
                source: Source::Forge,
                delivery: format!("stored-{n}"),
                digest: format!("{n:064x}"),
                event: "status".to_owned(),
                event_type: "status".to_owned(),
                body: body(n as u64),
            })
            .collect();
        store.write_blocking(move |tx| {
            for new in &rows {
                let received = inbox::receive(tx, new, now())?;
                let status = orch::domain::inbox::DeliveryStatus::Ignored;
                let _ = inbox::settle(tx, received.id(), status, "stored before", now())?;
            }
            Ok::<_, StoreError>(())
        })?;
    }
    Ok(())
}

/// A status as Gitea sends it, of about a kilobyte; no two are the same.
fn body(n: u64) -> String {
    let message = "x".repeat(700);
    serde_json::json!({
        "id": n, "sha": format!("{n:040x}"), "state": "success", "context": "ci / test",
        "commit": {"message": message}, "repository": {"full_name": "team/app"}, "sender": {"login": "dev"}
    })
    .to_string()
}

struct Load {
    per_second: f64,
    p50: f64,
    p99: f64,
}

static NUMBER: AtomicU64 = AtomicU64::new(1_000_000);

fn load(address: SocketAddr, path: &'static str, connections: usize) -> Result<Load> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let began = Instant::now();
    let all = (0..connections).map(|_| send(address, path, began));
    let taken = runtime.block_on(futures_util::future::try_join_all(all))?;
    let elapsed = began.elapsed().as_secs_f64();
    let mut taken: Vec<f64> = taken.into_iter().flatten().collect();
    taken.sort_by(f64::total_cmp);
    let at = |percent: usize| taken.get(taken.len() * percent / 100).copied().unwrap_or(0.0);
    Ok(Load {
        per_second: taken.len() as f64 / elapsed,
        p50: at(50),
        p99: at(99),
    })
}

/// One connection: each request waits for its answer. Milliseconds of each.
async fn send(address: SocketAddr, path: &str, began: Instant) -> Result<Vec<f64>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut taken = Vec::new();
    let mut answer = [0; 2048];
    while began.elapsed() < FOR {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let body = body(number);
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())?;
        mac.update(body.as_bytes());
        let signature: String = mac
            .finalize()
            .into_bytes()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             X-Gitea-Delivery: d-{number}\r\nX-Gitea-Event: status\r\nX-Gitea-Signature: {signature}\r\n\r\n{body}",
            body.len()
        );
        let sent = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        let mut read = 0;
        // Head and body are small, and the body ends with a brace.
        while !answer[..read].ends_with(b"}") {
            let n = stream.read(&mut answer[read..]).await?;
            ensure!(n > 0, "the connection was closed");
            read += n;
        }
        ensure!(
            answer.starts_with(b"HTTP/1.1 202"),
            "{}",
            String::from_utf8_lossy(&answer[..read])
        );
        taken.push(sent.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(taken)
}

fn row(what: &str, load: &Load, ratio: Option<f64>, target: &str) {
    let ratio = ratio.map_or_else(String::new, |r| format!("{r:.2}"));
    println!(
        "{what:<44} {:>10.0} {:>9.2} {:>9.2} {ratio:>7}  {target}",
        load.per_second, load.p50, load.p99
    );
}
