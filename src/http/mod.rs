//! The HTTP face: routes, who may use them, and what a refusal looks like. A handler authenticates, calls the
//! engine and responds. Never decides anything about tasks, and never opens the database.

pub mod api;
pub mod auth;
pub mod body;
pub mod bounded;
pub mod error;
mod openapi;
pub mod status;
pub mod wait;
pub mod webhooks;

use std::io;
use std::net::SocketAddr;

use actix_web::dev::Server;
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::{App, HttpServer, Resource, web};

use crate::engine::Engine;
use crate::settings::Settings;
use auth::Access;
use body::BodyLimit;
use error::Problem;
pub use status::{ActorView, Healing, Sources};
use webhooks::Secrets;

/// Threads that answer requests. The work is done elsewhere; two keep a slow client from holding up the rest.
const WORKERS: usize = 2;
/// Seconds that a graceful stop waits for requests under way. Long polls are cut then.
const SHUTDOWN_S: u64 = 5;

/// Binds `server.listen` and builds the server; it serves while the returned future is polled.
/// Creates the token file in the data directory unless `api_token` is set.
///
/// # Errors
/// When the address cannot be had or the token file cannot be written: one line that names the setting.
pub fn server(engine: Engine, sources: Sources, settings: &Settings) -> io::Result<(Server, SocketAddr)> {
    let access = web::Data::new(Access::from_settings(settings)?);
    let limit = web::Data::new(BodyLimit(settings.server.body_limit_bytes));
    let secrets = web::Data::new(Secrets::of(settings));
    let engine = web::Data::new(engine);
    let sources = web::Data::new(sources);
    let listen = settings.server.listen;
    let server = HttpServer::new(move || {
        App::new()
            .app_data(access.clone())
            .app_data(limit.clone())
            .app_data(secrets.clone())
            .app_data(engine.clone())
            .app_data(sources.clone())
            .wrap(
                DefaultHeaders::new()
                    .add(("X-Content-Type-Options", "nosniff"))
                    .add(("Cache-Control", "no-store")),
            )
            .configure(routes)
    })
    .workers(WORKERS)
    .shutdown_timeout(SHUTDOWN_S)
    .disable_signals()
    .bind(listen)
    .map_err(|e| cannot_listen(listen, &e))?;
    let address = server.addrs().first().copied().unwrap_or(listen);
    Ok((server.run(), address))
}

fn routes(cfg: &mut web::ServiceConfig) {
    cfg.app_data(web::PathConfig::default().error_handler(|e, _| Problem::not_readable("path", &e).into()))
        .app_data(web::QueryConfig::default().error_handler(|e, req| {
            let query: String = req.query_string().chars().take(100).collect();
            Problem::not_readable(&format!("query {query:?}"), &e).into()
        }))
        .configure(status::routes)
        .configure(webhooks::routes)
        .service(
            web::scope("/api/v1")
                .wrap(from_fn(auth::check))
                .configure(api::routes),
        )
        .default_service(web::to(async || Err::<String, _>(Problem::no_such_route())));
}

/// A resource that answers other methods than `allow` with 405.
fn resource(path: &str, allow: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move || async move {
        Err::<String, _>(Problem::method_not_allowed(allow))
    }))
}

fn cannot_listen(listen: SocketAddr, e: &io::Error) -> io::Error {
    let why = match e.kind() {
        io::ErrorKind::AddrInUse => "another program listens there; stop it, or choose another address",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address; choose another",
        io::ErrorKind::PermissionDenied => "the system does not allow it; choose a port above 1023",
        _ => "choose another address",
    };
    let line = format!("cannot listen on {listen} ({e}): {why} with server.listen (ORCH_SERVER_LISTEN)");
    io::Error::new(e.kind(), line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::dev::ServiceResponse;
    use actix_web::test::{TestRequest, call_service, init_service, read_body_json};
    use serde_json::{Value, json};

    use crate::engine::views::MakeGesture;

    const TOKEN: &str = "4f9c";

    /// The routes without an engine: what is refused, or needs none, is answered before one is asked.
    async fn ask(request: TestRequest) -> (u16, Value) {
        let app = App::new()
            .app_data(web::Data::new(Access::new(TOKEN, true)))
            .configure(routes);
        let app = init_service(app).await;
        read(call_service(&app, request.to_request()).await).await
    }

    async fn read<B: actix_web::body::MessageBody>(response: ServiceResponse<B>) -> (u16, Value) {
        (response.status().as_u16(), read_body_json(response).await)
    }

    fn with_token(request: TestRequest) -> TestRequest {
        request.insert_header(("Authorization", format!("Bearer {TOKEN}")))
    }

    #[actix_web::test]
    async fn health_is_open_to_everyone() {
        let (status, body) = ask(TestRequest::get().uri("/health")).await;
        assert_eq!(status, 200);
        assert_eq!(body, json!({"status": "ok", "service": "orchestrator"}));
    }

    #[actix_web::test]
    async fn an_unknown_address_and_a_wrong_method_are_problems() {
        let (status, body) = ask(TestRequest::get().uri("/nowhere")).await;
        assert_eq!((status, &body["status"]), (404, &json!(404)));
        let (status, body) = ask(with_token(TestRequest::get().uri("/api/v1/nowhere"))).await;
        assert_eq!((status, &body["status"]), (404, &json!(404)));
        let (status, body) = ask(with_token(TestRequest::delete().uri("/api/v1/tasks"))).await;
        assert_eq!(status, 405);
        assert_eq!(body["detail"], "use one of: GET, POST");
        let (status, _) = ask(TestRequest::post().uri("/health")).await;
        assert_eq!(status, 405);
    }

    #[actix_web::test]
    async fn every_route_but_health_and_readiness_asks_for_the_token() {
        for path in [
            "/status",
            "/queue",
            "/api/v1/tasks",
            "/api/v1/events",
            "/api/v1/nowhere",
        ] {
            let (status, body) = ask(TestRequest::get().uri(path)).await;
            assert_eq!((status, &body["title"]), (401, &json!("Unauthorized")), "{path}");
        }
    }

    async fn send(body: &'static str) -> (u16, Value) {
        let echo = web::post().to(async |body: body::Body<MakeGesture>| web::Json(body.0));
        let app = App::new()
            .app_data(web::Data::new(BodyLimit(64)))
            .service(resource("/echo", "POST").route(echo));
        let app = init_service(app).await;
        let request = TestRequest::post().uri("/echo").set_payload(body).to_request();
        read(call_service(&app, request).await).await
    }

    #[actix_web::test]
    async fn a_body_is_limited_and_its_mistakes_are_named() {
        assert_eq!(send(r#"{"gesture":"approved"}"#).await.0, 200);
        let (status, problem) = send(r#"{"gesture":7}"#).await;
        assert_eq!(status, 400);
        assert_eq!(
            problem["detail"],
            "field `gesture`: invalid type: integer `7`, expected a string"
        );
        let long = r#"{"gesture":"approved","comment":"more words than anyone asked for"}"#;
        let (status, problem) = send(long).await;
        assert_eq!((status, &problem["title"]), (413, &json!("Payload Too Large")));
    }
}
