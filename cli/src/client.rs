//! The server's API, as far as the command needs it.

use std::time::Duration;

use reqwest::blocking::{RequestBuilder, Response};
use reqwest::header::LOCATION;
use reqwest::{Method, StatusCode, Url};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Problem};
use crate::profile::{Profile, ProfileDir};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_mins(1);

/// What proves who calls.
pub(crate) enum Credentials {
    ApiKey(String),
    Session(ProfileDir, Profile),
}

/// A connection to a server, with or without credentials.
pub(crate) struct Client {
    http: reqwest::blocking::Client,
    base: Url,
    credentials: Option<Credentials>,
}

/// One call: what a retry needs to say it again.
pub(crate) struct Call<'a> {
    method: Method,
    path: &'a [&'a str],
    query: Vec<(String, String)>,
    body: Option<Value>,
}

/// A pair of tokens (RFC 6749).
#[derive(Deserialize)]
pub(crate) struct Tokens {
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
}

impl<'a> Call<'a> {
    /// `path` in segments below `/api/v1`, not encoded.
    pub(crate) fn new(method: Method, path: &'a [&'a str]) -> Self {
        Self {
            method,
            path,
            query: Vec::new(),
            body: None,
        }
    }

    pub(crate) fn get(path: &'a [&'a str]) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds every field of `fields` that is set, under its own name.
    pub(crate) fn query_of(mut self, fields: &impl Serialize) -> Self {
        if let Ok(Value::Object(fields)) = serde_json::to_value(fields) {
            for (name, value) in fields {
                match value {
                    Value::Null => {}
                    Value::String(text) => self.query.push((name, text)),
                    other => self.query.push((name, other.to_string())),
                }
            }
        }
        self
    }

    pub(crate) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }
}

impl Client {
    /// A client of the server at `url`, which is `http` or `https` and may have a path.
    pub(crate) fn new(url: &str, credentials: Option<Credentials>) -> Result<Self, Error> {
        let base = Url::parse(url)
            .ok()
            .filter(|base| matches!(base.scheme(), "http" | "https") && base.has_host())
            .ok_or_else(|| {
                Error::Usage(format!(
                    "{url} is not a server's URL, such as https://go.example"
                ))
            })?;
        let http = reqwest::blocking::Client::builder()
            .user_agent(concat!("terse/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            // A password or token must reach the server that was named, and no other.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Error::Unexpected(error.to_string()))?;
        Ok(Self {
            http,
            base,
            credentials,
        })
    }

    /// The server's URL without a slash at its end.
    pub(crate) fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Whose session this is; `None` with an API key.
    pub(crate) fn email(&self) -> Option<&str> {
        match &self.credentials {
            Some(Credentials::Session(_, profile)) => Some(&profile.email),
            _ => None,
        }
    }

    /// Signs in.
    pub(crate) fn sign_in(&self, email: &str, password: &str) -> Result<Tokens, Error> {
        self.token(&[
            ("grant_type", "password"),
            ("username", email),
            ("password", password),
        ])
    }

    /// Makes a call with the credentials, refreshing an expired session once; an answer without a body is `null`.
    pub(crate) fn send(&mut self, call: &Call<'_>) -> Result<Value, Error> {
        let response = self.attempt(call)?;
        if response.status() != StatusCode::UNAUTHORIZED || !self.refresh()? {
            return self.answer(response);
        }
        let response = self.attempt(call)?;
        self.answer(response)
    }

    fn attempt(&self, call: &Call<'_>) -> Result<Response, Error> {
        let token = match &self.credentials {
            None => return Err(Error::NotSignedIn(self.url().to_owned())),
            Some(Credentials::ApiKey(key)) => key,
            Some(Credentials::Session(_, profile)) => &profile.access_token,
        };
        let mut request = self
            .http
            .request(call.method.clone(), self.address(call.path))
            .query(&call.query)
            .bearer_auth(token);
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        self.exchange(request)
    }

    /// Whether there is a new access token to try.
    fn refresh(&mut self) -> Result<bool, Error> {
        let Some(Credentials::Session(dir, stale)) = &self.credentials else {
            return Ok(false);
        };
        let _lock = dir.lock()?;
        // Another process may have refreshed, or signed out, while this one waited.
        let Some(mut profile) = dir.load()?.filter(|stored| stored.url == stale.url) else {
            return Ok(false);
        };
        if profile.access_token == stale.access_token {
            let form = [
                ("grant_type", "refresh_token"),
                ("refresh_token", profile.refresh_token.as_str()),
            ];
            let tokens = match self.token(&form) {
                Err(Error::Refused(problem)) if problem.code == "invalid_grant" => {
                    return Err(Error::NotSignedIn(self.url().to_owned()));
                }
                outcome => outcome?,
            };
            profile.access_token = tokens.access_token;
            profile.refresh_token = tokens.refresh_token;
            dir.store(&profile)?;
        }
        if let Some(Credentials::Session(_, current)) = &mut self.credentials {
            *current = profile;
        }
        Ok(true)
    }

    fn token(&self, form: &[(&str, &str)]) -> Result<Tokens, Error> {
        let request = self.http.post(self.address(&["auth", "token"])).form(form);
        let answer = self.answer(self.exchange(request)?)?;
        serde_json::from_value(answer).map_err(|_| self.no_terse())
    }

    fn address(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        url
    }

    fn exchange(&self, request: RequestBuilder) -> Result<Response, Error> {
        request.send().map_err(|error| self.unreachable(&error))
    }

    fn answer(&self, response: Response) -> Result<Value, Error> {
        let status = response.status();
        if let Some(location) = response.headers().get(LOCATION)
            && status.is_redirection()
        {
            let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
            return Err(Error::Unexpected(format!(
                "{} sends elsewhere, to {location}; name the server by the URL it answers at",
                self.url()
            )));
        }
        let body = response.bytes().map_err(|error| self.unreachable(&error))?;
        if status.is_success() {
            if body.is_empty() {
                return Ok(Value::Null);
            }
            return serde_json::from_slice(&body).map_err(|_| self.no_terse());
        }
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Error::Refused(Box::new(problem)),
            Err(_) => Error::Unexpected(format!("{} answered {status}", self.url())),
        })
    }

    fn no_terse(&self) -> Error {
        Error::Unexpected(format!("{} is not a Terse server", self.url()))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        let mut reason: &dyn std::error::Error = error;
        while let Some(source) = reason.source() {
            reason = source;
        }
        let reason = if error.is_timeout() {
            "it takes too long".to_owned()
        } else {
            reason.to_string()
        };
        Error::Unreachable {
            url: self.url().to_owned(),
            reason,
        }
    }
}
