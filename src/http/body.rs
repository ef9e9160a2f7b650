//! Bodies in: limited, JSON, and refused with the name of the field that is wrong. Never decides what a field may
//! hold: that is the engine's.

use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::{StatusCode, header};
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::error::Problem;

/// How long a body may take: whoever stops in the middle must not keep a connection for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many bytes a body may have.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimit(pub usize);

/// A JSON body. An absent one counts as `{}`, so that what is missing is named.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let req = req.clone();
        let payload = web::Payload::from_request(&req, payload);
        Box::pin(async move {
            let payload = payload.await.map_err(|e| Problem::bad_request(e.to_string()))?;
            let bytes = raw(&req, payload).await?;
            decode(&bytes).map(Body).map_err(Problem::bad_request)
        })
    }
}

/// The bytes of a body, within the limit and in time.
///
/// # Errors
/// What it is refused for.
pub(super) async fn raw(req: &HttpRequest, payload: web::Payload) -> Result<web::Bytes, Problem> {
    let limit = req.app_data::<web::Data<BodyLimit>>().map_or(0, |l| l.0);
    let declared = req.headers().get(header::CONTENT_LENGTH);
    let declared: Option<usize> = declared.and_then(|l| l.to_str().ok()?.parse().ok());
    // Who announces too much need not send it first.
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    match timeout(PATIENCE, payload.to_bytes_limited(limit)).await {
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            format!(
                "the body did not arrive within {} s: send it again",
                PATIENCE.as_secs()
            ),
        )),
        Ok(Err(_)) => Err(too_large(limit)),
        Ok(Ok(Err(e))) => Err(Problem::bad_request(format!("the body could not be read: {e}"))),
        Ok(Ok(Ok(bytes))) => Ok(bytes),
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the body is larger than {limit} bytes (server.body_limit_bytes)"),
    )
}

/// Decodes an object; the error names the field.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    if bytes.is_empty() {
        return from_map(Map::new());
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => from_map(map.into_iter().map(|(key, value)| (key, whole(value))).collect()),
        Ok(_) => Err("the body must be a JSON object".to_owned()),
        Err(e) => Err(format!("the body is not JSON: {e}")),
    }
}

/// JSON has one kind of number: 3.0 is the whole number 3, and JSON Schema says so. Wherever it stands.
fn whole(value: Value) -> Value {
    let value = match value {
        Value::Array(items) => return items.into_iter().map(whole).collect(),
        Value::Object(map) => return map.into_iter().map(|(key, value)| (key, whole(value))).collect(),
        value => value,
    };
    let number = value.as_f64().filter(|n| value.is_f64() && n.fract() == 0.0);
    // Beyond 2^53 a float does not say which number is meant.
    match number.filter(|n| n.abs() <= 9_007_199_254_740_992.0) {
        Some(number) => Value::from(number as i64),
        None => value,
    }
}

fn from_map<T: DeserializeOwned>(map: Map<String, Value>) -> Result<T, String> {
    let decoded = |map: &Map<String, Value>| serde_json::from_value::<T>(Value::Object(map.clone()));
    decoded(&map).map_err(|e| {
        let said = e.to_string();
        // serde names a missing or unknown field, but not one of a wrong type: that is the one without which the
        // complaint changes.
        let wrong = map.keys().find(|key| {
            let mut rest = map.clone();
            rest.remove(key.as_str());
            decoded(&rest).err().is_none_or(|other| other.to_string() != said)
        });
        match wrong {
            Some(key) if !said.contains(&format!("`{key}`")) => format!("field `{key}`: {said}"),
            _ => said,
        }
    })
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::engine::views::{AddTask, SubmitBatch};

    fn complaint(body: &str) -> String {
        decode::<AddTask>(body.as_bytes()).expect_err("a wrong body was accepted")
    }

    #[test]
    fn the_field_that_is_wrong_is_named() {
        assert!(complaint(r#"{"title":"x","priority":"high"}"#).contains("field `priority`: invalid type"));
        assert!(complaint(r#"{"title":3}"#).contains("field `title`: invalid type"));
        assert!(complaint(r#"{"titel":"x"}"#).contains("unknown field `titel`"));
        assert!(complaint("{}").contains("missing field `title`"));
        assert!(complaint("").contains("missing field `title`"));
    }

    #[test]
    fn a_whole_number_may_be_written_with_a_point() {
        let priority = |text: &str| {
            let body = format!(r#"{{"title":"x","priority":{text}}}"#);
            decode::<AddTask>(body.as_bytes()).map(|task| task.priority).ok()
        };
        assert_eq!(priority("3.0"), Some(3));
        assert_eq!(priority("-2e3"), Some(-2000));
        for wrong in ["3.5", "1e300", "2147483648.0"] {
            assert_eq!(priority(wrong), None, "{wrong}");
        }
        let body = br#"{"name":"b","mode":"parallel","tasks":[{"title":"x","priority":208.0}]}"#;
        let batch = decode::<SubmitBatch>(body).expect("a batch");
        assert_eq!(batch.tasks[0].priority, 208);
    }

    #[test]
    fn what_is_not_an_object_is_refused_with_the_place() {
        assert!(complaint("[]").contains("must be a JSON object"));
        assert!(complaint("{\n\"title\" 1}").contains("line 2"));
    }
}
