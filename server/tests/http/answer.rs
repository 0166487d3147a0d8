//! What came back, and what every problem has to look like.

use reqwest::blocking::Response;
use reqwest::header::HeaderMap;
use serde_json::Value;

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        let headers = response.headers().clone();
        let kind = headers.get("content-type");
        let is_endless = kind.is_some_and(|kind| kind == "text/event-stream");
        Self {
            status: response.status().as_u16(),
            headers,
            body: if is_endless {
                Vec::new()
            } else {
                response.bytes().unwrap().to_vec()
            },
        }
    }
}

impl Answer {
    /// The text of a header that occurs exactly once; empty when it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map_or("", |value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} occurs twice");
        value
    }

    pub(crate) fn location(&self) -> &str {
        self.header("location")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    fn excerpt(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        text.chars().take(500).collect()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.excerpt());
        self
    }

    /// Asserts a complete problem document with this status; returns it.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.excerpt());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        for member in ["type", "title", "detail", "code", "request_id"] {
            let value = problem[member].as_str().unwrap_or_default();
            assert!(!value.is_empty(), "{member} is missing: {problem}");
        }
        let code = problem["code"].as_str().unwrap();
        let snake_case = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(code.chars().all(snake_case), "{code}");
        if status == 401 {
            assert!(self.header("www-authenticate").starts_with("Bearer"));
        }
        problem
    }

    /// Asserts a problem with this status and code.
    #[track_caller]
    pub(crate) fn problem_code(&self, status: u16, code: &str) {
        assert_eq!(self.problem(status)["code"], code);
    }

    /// Asserts a 422 that names `field`; returns the code given for it.
    #[track_caller]
    pub(crate) fn refused(&self, field: &str) -> String {
        let problem = self.problem(422);
        let errors = problem["errors"].as_array().unwrap();
        let error = errors.iter().find(|error| error["field"] == field);
        let error = error.unwrap_or_else(|| panic!("{field} is not named: {problem}"));
        assert!(!error["message"].as_str().unwrap().is_empty());
        error["code"].as_str().unwrap().to_owned()
    }
}
