//! The document against the routes, without an engine: a route is there when it answers anything but 405.

use std::collections::BTreeSet;

use actix_web::dev::ServiceResponse;
use actix_web::http::{Method, header};
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, web};
use regex::Regex;
use serde_json::Value;

use super::document;
use crate::http::auth::Access;
use crate::http::routes;

const METHODS: [Method; 8] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::TRACE,
];

/// "GET /api/v1/tasks/{id}"
type Operation = String;

async fn ask(method: &Method, path: &str) -> ServiceResponse {
    let access = web::Data::new(Access::new("4f9c", true));
    let app = init_service(App::new().app_data(access).configure(routes)).await;
    let request = TestRequest::default().method(method.clone()).uri(path);
    let request = request.insert_header((header::AUTHORIZATION, "Bearer 4f9c"));
    call_service(&app, request.to_request())
        .await
        .map_into_boxed_body()
}

/// The addresses that actix knows, however they were registered: it shows its map when asked to be debugged.
#[expect(clippy::expect_used, reason = "a test fails by panicking")]
async fn addresses() -> BTreeSet<String> {
    let map = format!(
        "{:?}",
        ask(&Method::GET, "/health").await.request().resource_map()
    );
    let pattern = Regex::new(r#"patterns: Single\("([^"]*)"\)"#).expect("a pattern");
    let parts: BTreeSet<String> = pattern.captures_iter(&map).map(|c| c[1].to_owned()).collect();
    let mut found = BTreeSet::new();
    for (scope, part) in parts.iter().flat_map(|s| parts.iter().map(move |p| (s, p))) {
        let path = format!("{scope}{part}").replace("{id}", "1");
        if !path.starts_with('/') {
            continue;
        }
        found.extend(ask(&Method::GET, &path).await.request().match_pattern());
    }
    // Where a scope itself leads, nothing is.
    found.remove("/api/v1");
    found
}

async fn served() -> BTreeSet<Operation> {
    let mut served = BTreeSet::new();
    for address in addresses().await {
        for method in METHODS {
            let status = ask(&method, &address.replace("{id}", "1")).await.status();
            if status != 405 {
                served.insert(format!("{method} {address}"));
            }
        }
    }
    served
}

#[expect(clippy::expect_used, reason = "a test fails by panicking")]
fn written() -> Value {
    serde_json::to_value(document(true)).expect("a document")
}

/// The operations of the document, each with what it says of itself.
fn described(document: &Value) -> Vec<(Operation, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let operations = paths.flat_map(|(path, item)| {
        let methods = item.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
    });
    operations.collect()
}

#[actix_web::test]
async fn every_route_is_described_and_every_description_has_a_route() {
    let document = written();
    let described: BTreeSet<Operation> = described(&document).into_iter().map(|(name, _)| name).collect();
    let served = served().await;
    let (undescribed, unserved): (Vec<_>, Vec<_>) = (
        served.difference(&described).collect(),
        described.difference(&served).collect(),
    );
    assert!(
        undescribed.is_empty(),
        "routes without a description: {undescribed:?}"
    );
    assert!(unserved.is_empty(), "descriptions without a route: {unserved:?}");
    assert!(served.len() > 20, "the routes were not found: {served:?}");
}

#[actix_web::test]
async fn a_wrong_method_is_told_the_methods_that_are_described() {
    let document = written();
    for address in addresses().await {
        let answer = ask(&Method::DELETE, &address.replace("{id}", "1")).await;
        let allow = answer.headers().get(header::ALLOW).and_then(|v| v.to_str().ok());
        let allow: BTreeSet<String> = allow
            .into_iter()
            .flat_map(|a| a.split(", "))
            .map(str::to_owned)
            .collect();
        let item = document["paths"][&address].as_object();
        let described: BTreeSet<String> = item
            .into_iter()
            .flatten()
            .map(|(m, _)| m.to_uppercase())
            .collect();
        assert_eq!(allow, described, "{address}");
    }
}

#[test]
fn every_refusal_is_a_problem_and_every_operation_has_a_name_of_its_own() {
    let document = written();
    let mut names = BTreeSet::new();
    for (operation, said) in described(&document) {
        for (status, response) in said["responses"].as_object().into_iter().flatten() {
            let kinds: Vec<_> = response["content"].as_object().into_iter().flatten().collect();
            let problem = matches!(kinds.as_slice(), [(kind, _)] if *kind == "application/problem+json");
            assert_eq!(problem, status.as_str() >= "400", "{operation}: {status}");
        }
        let name = said["operationId"].as_str().unwrap_or_default();
        assert!(
            !name.is_empty() && names.insert(name),
            "{operation} is named {name:?}"
        );
    }
}

#[test]
fn what_changes_takes_the_token_and_reading_takes_it_where_one_is_configured() {
    for configured in [true, false] {
        let document = serde_json::to_value(document(configured)).unwrap_or_default();
        for (operation, said) in described(&document) {
            let open = operation.ends_with(" /health")
                || operation.ends_with(" /ready")
                || operation.contains(" /webhook/");
            let reads = operation.starts_with("GET ");
            let expected = match (open, configured || !reads) {
                (true, _) => serde_json::json!([{}]),
                (false, true) => serde_json::json!([{"token": []}]),
                (false, false) => serde_json::json!([{}, {"token": []}]),
            };
            assert_eq!(said["security"], expected, "{operation}");
        }
    }
}
