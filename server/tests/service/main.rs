//! The server as its clients see it: the real binary, over HTTP.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "each test binary uses its part")]
#[path = "../common/mod.rs"]
mod common;

mod api;
mod framework;
mod operations;
mod redirects;

use std::sync::{Arc, Mutex, Weak};

use reqwest::blocking::{Client, RequestBuilder, Response};
use serde_json::Value;

use common::Node;

/// One server for all tests that need no settings of their own.
pub(crate) fn shared() -> Arc<Service> {
    // Weak: a static is never dropped, and the server would outlive its tests.
    static SHARED: Mutex<Weak<Service>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap();
    if let Some(service) = shared.upgrade() {
        return service;
    }
    let service = Arc::new(Service::new(&[]));
    *shared = Arc::downgrade(&service);
    service
}

pub(crate) const CHROME: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

pub(crate) struct Service {
    pub(crate) node: Node,
    pub(crate) token: String,
    client: Client,
}

impl Service {
    pub(crate) fn new(settings: &[(&str, &str)]) -> Self {
        let mut node = Node::new(settings);
        node.start();
        Self {
            token: node.token(),
            node,
            client: common::client(),
        }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = method.parse().unwrap();
        self.client
            .request(method, self.node.url(path))
            .header("Host", "localhost")
    }

    pub(crate) fn api(&self, method: &str, path: &str) -> RequestBuilder {
        self.request(method, &format!("/api/v1{path}"))
            .bearer_auth(&self.token)
    }

    /// A new link; the members of `link` win over the defaults.
    pub(crate) fn link(&self, link: Value) -> Value {
        let answer = self.create(link);
        assert_eq!(answer.status(), 201);
        answer.json().unwrap()
    }

    #[expect(clippy::needless_pass_by_value, reason = "called with literals")]
    pub(crate) fn create(&self, link: Value) -> Response {
        let mut body = serde_json::json!({"target_url": "https://example.com/target"});
        body.as_object_mut()
            .unwrap()
            .extend(link.as_object().unwrap().clone());
        self.api("POST", "/links").json(&body).send().unwrap()
    }

    /// A person's browser on a short URL.
    pub(crate) fn visit(&self, path: &str) -> Response {
        self.request("GET", path)
            .header("User-Agent", CHROME)
            .send()
            .unwrap()
    }

    /// Bytes as they are on the wire; returns the status line and all that follows.
    pub(crate) fn raw(&self, request: &[u8]) -> String {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.node.port())).unwrap();
        stream
            .set_read_timeout(Some(std::time::Duration::from_secs(10)))
            .unwrap();
        // The server may refuse before it has read everything.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// The problem of an error answer, after checking what every problem has.
pub(crate) fn problem(answer: Response) -> Value {
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    let problem: Value = answer.json().unwrap();
    for member in ["type", "title", "detail", "code", "request_id"] {
        assert!(
            problem[member]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{member}: {problem}"
        );
    }
    assert_eq!(problem["status"], status);
    problem
}

pub(crate) fn code(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    (status, problem(answer)["code"].as_str().unwrap().to_owned())
}
