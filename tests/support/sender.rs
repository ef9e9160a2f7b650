//! Who sends webhooks: signed requests as Plane and Gitea make them.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::{Answer, TestService};

/// What the service and its senders share.
pub const SECRET: &str = "a secret of the tests";

/// The signature of a body, in hexadecimal digits.
pub fn sign(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body);
    mac.finalize()
        .into_bytes()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// A request as a sender makes it.
pub struct Post<'a> {
    pub path: &'a str,
    pub headers: Vec<(&'a str, String)>,
    pub body: Vec<u8>,
}

impl<'a> Post<'a> {
    /// Plane's.
    pub fn plane(name: &str, body: &[u8]) -> Self {
        Self {
            path: "/webhook/plane",
            headers: vec![
                ("Content-Type", "application/json".into()),
                ("X-Plane-Delivery", name.to_owned()),
                ("X-Plane-Event", "issue".into()),
                ("X-Plane-Signature", sign(body)),
            ],
            body: body.to_vec(),
        }
    }

    /// Gitea's.
    pub fn forge(name: &str, kind: &str, body: &[u8]) -> Self {
        Self {
            path: "/webhook/gitea",
            headers: vec![
                ("Content-Type", "application/json".into()),
                ("X-Gitea-Delivery", name.to_owned()),
                ("X-Gitea-Event", kind.to_owned()),
                ("X-Gitea-Event-Type", kind.to_owned()),
                ("X-Gitea-Signature", sign(body)),
            ],
            body: body.to_vec(),
        }
    }

    /// Another value of a header, or none.
    pub fn header(mut self, name: &'a str, value: Option<String>) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.extend(value.map(|value| (name, value)));
        self
    }

    /// Sends it; the answer.
    pub fn send(&self, service: &TestService) -> Answer {
        self.try_send(service).unwrap()
    }

    /// The same, where the service may die of it.
    pub fn try_send(&self, service: &TestService) -> std::io::Result<Answer> {
        let api = service.api();
        let mut head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.path,
            api.address,
            self.body.len()
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let request = [head.as_bytes(), b"\r\n", &self.body].concat();
        api.exchange(&request)
    }
}
