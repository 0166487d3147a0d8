//! Clicks as they happen.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::service::service_fn;
use secrecy::SecretString;
use serde_json::{Value, json};
use terse_core::Terse;
use terse_core::model::{ManualClock, Origin, OsEntropy, Timestamp};
use terse_server::accept::accept;
use terse_server::api::routes;
use terse_server::app::{App, Limits, Policy};
use terse_server::edge::Edge;
use terse_server::limits::Rate;
use terse_server::tokens::{Bearer, Tokens};
use tokio::net::TcpListener;

use crate::hostile;
use crate::raw;
use crate::server::{EMAIL, ON_ONE_NODE, PASSWORD, PATIENCE, Server, until};

/// A stream of events over a connection of its own.
pub(crate) struct Stream {
    reader: BufReader<TcpStream>,
    pub(crate) head: String,
    /// The id that it began with, if it had missed nothing.
    pub(crate) id: String,
    decoded: Vec<u8>,
}

#[derive(Debug, Default)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) data: Value,
}

impl Stream {
    /// Asks, and reads the head of the answer.
    pub(crate) fn open(address: SocketAddr, token: &str, query: &str, lines: &[&str]) -> Self {
        let mut stream = raw::connect(address);
        let mut request = format!(
            "GET /api/v1/analytics/live{query} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        );
        for line in lines {
            request.push_str(line);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        Self {
            reader,
            head: head.to_ascii_lowercase(),
            id: String::new(),
            decoded: Vec::new(),
        }
    }

    /// The same, let in; past the beginning.
    pub(crate) fn listen(server: &Server, token: &str, query: &str, lines: &[&str]) -> Self {
        let mut stream = Self::open(server.address, token, query, lines);
        assert!(stream.head.starts_with("http/1.1 200"), "{}", stream.head);
        assert_eq!(stream.line().as_deref(), Some("retry: 1000"));
        // Whoever comes back and missed something is told that first.
        let line = stream.line().unwrap();
        if let Some(id) = line.strip_prefix("id: ") {
            id.clone_into(&mut stream.id);
            assert_eq!(stream.line().as_deref(), Some(""));
        } else {
            assert_eq!(line, "");
        }
        stream
    }

    /// The next line of the body; `None` after a proper end.
    pub(crate) fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.decoded.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.decoded.drain(..=end).collect();
                return Some(String::from_utf8(line[..end].to_vec()).unwrap());
            }
            let mut size = String::new();
            self.reader.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            self.reader.read_exact(&mut chunk).unwrap();
            if size == 0 {
                assert_eq!(self.decoded, b"", "it ends with a whole line");
                return None;
            }
            self.decoded.extend_from_slice(&chunk[..size]);
        }
    }

    /// The next event; comments are passed over, but not for ever.
    pub(crate) fn event(&mut self) -> Event {
        let asked = Instant::now();
        let mut event = Event::default();
        loop {
            assert!(asked.elapsed() < PATIENCE, "in vain: a click is told");
            let line = self.line().expect("the stream goes on");
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => value.clone_into(&mut event.id),
                "event" => value.clone_into(&mut event.name),
                "data" => event.data = serde_json::from_str(value).unwrap(),
                "" if line.is_empty() && !event.data.is_null() => return event,
                "" => {}
                _ => panic!("no field of an event: {line}"),
            }
        }
    }

    /// Reads to the end; how long that took.
    pub(crate) fn ends(&mut self) -> Duration {
        let asked = Instant::now();
        while self.line().is_some() {}
        asked.elapsed()
    }
}

fn listeners(server: &Server) -> u64 {
    let page = server.visitor().get("/metrics").expect(200).text();
    let mut lines = page.lines();
    let gauge = lines.find_map(|line| line.strip_prefix("terse_live_listeners "));
    gauge.unwrap().parse().unwrap()
}

#[test]
fn a_stream_is_sent_at_once_and_kept_by_nobody() {
    let server = Server::start(&[ON_ONE_NODE]);
    let stream = Stream::listen(&server, server.token(), "?country=DE", &[]);
    for header in [
        "content-type: text/event-stream\r\n",
        "cache-control: no-store\r\n",
        "x-accel-buffering: no\r\n",
        "x-content-type-options: nosniff\r\n",
    ] {
        assert!(stream.head.contains(header), "{}", stream.head);
    }
    assert_eq!(listeners(&server), 1);
    drop(stream);
    until("the listener is forgotten", || {
        (listeners(&server) == 0).then_some(())
    });
}

#[test]
fn silence_is_filled_with_comments() {
    let server = Server::start(&[]);
    let begun = Instant::now();
    let mut stream = Stream::listen(&server, server.token(), "", &[]);
    let line = stream.line().unwrap();
    assert!(line.starts_with(": "), "{line}");
    let id = stream.line().unwrap();
    assert_eq!(id, format!("id: {}", stream.id));
    assert!((10..25).contains(&begun.elapsed().as_secs()));
}

#[test]
fn a_stream_ends_soon_after_its_key_is_revoked() {
    let server = Server::shared();
    let ada = server.person("live-key@example.com", "user");
    let (key, id) = ada.key(&["analytics:read"]);
    let mut stream = Stream::listen(&server, &key, "", &[]);
    ada.delete(&format!("/api-keys/{id}")).expect(204);
    assert!(stream.ends() < Duration::from_secs(3));
}

#[test]
fn a_stream_ends_soon_after_its_session_or_its_right_does() {
    let server = Server::shared();
    let owner = server.person("live-owner@example.com", "user");
    let team = owner.founds("Live");
    let member = owner.admits(&team, "editor");
    let workspace = team.rsplit('/').next().unwrap();
    let query = format!("?workspace={workspace}");
    let mut by_right = Stream::listen(&server, &member.token, &query, &[]);
    let mut by_session = Stream::listen(&server, &owner.token, &query, &[]);
    owner.delete(&member.path_in(&owner, &team)).expect(204);
    assert!(by_right.ends() < Duration::from_secs(3));
    owner.post("/auth/logout", &Value::Null).expect(204);
    assert!(by_session.ends() < Duration::from_secs(3));
}

/// A server in this process, and an access token that its clock has just issued.
async fn signed_in(dir: &Path, clock: &Arc<ManualClock>) -> (Arc<App>, String) {
    let url = "http://localhost";
    let builder = Terse::builder().sqlite(dir.join("terse.db"));
    let builder = builder.spool_dir(dir.join("spool")).public_url(url);
    let terse = builder.clock(clock.clone()).open().await.unwrap();
    let (accounts, password) = (terse.accounts(), SecretString::from(PASSWORD));
    let admin = accounts.first_admin(Some(EMAIL.to_owned()), Some(password.clone()));
    admin.await.unwrap();
    let origin = Origin::default();
    let grant = accounts.sign_in(EMAIL, &password, &origin).await.unwrap();
    let secret = SecretString::from("0123456789abcdef0123456789abcdef-live");
    let entropy = Arc::new(OsEntropy);
    let tokens = Tokens::new(url, &secret, clock.clone(), entropy.clone()).unwrap();
    let (user, session) = (grant.user, grant.session);
    let token = tokens.issue(Bearer { user, session }).unwrap();
    let limits = Limits::new(Rate::OFF, Rate::OFF, Rate::OFF);
    let policy = Policy::default();
    let app = App::new(terse, tokens, limits, policy, url.to_owned(), &*entropy);
    (app, token)
}

/// Serves in this process.
async fn serve(app: &Arc<App>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let edge = Arc::new(Edge {
        api: routes(app),
        app: Arc::clone(app),
    });
    let stop = app.stopping.clone();
    tokio::spawn(accept(listener, 10, stop, move |peer, activity| {
        let edge = Arc::clone(&edge);
        service_fn(move |request| {
            let (edge, activity) = (Arc::clone(&edge), Arc::clone(&activity));
            async move { edge.answer(peer, &activity, request).await }
        })
    }));
    address
}

#[test]
fn a_stream_ends_with_its_access_token() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_800_000_000_000)));
    let (app, token) = runtime.block_on(signed_in(dir.path(), &clock));
    let address = runtime.block_on(serve(&app));
    let mut stream = Stream::open(address, &token, "", &[]);
    assert!(stream.head.starts_with("http/1.1 200"), "{}", stream.head);
    clock.advance(Duration::from_secs(899));
    let end = std::thread::spawn(move || stream.ends());
    std::thread::sleep(Duration::from_secs(3));
    assert!(!end.is_finished(), "the token is good");
    clock.advance(Duration::from_secs(1));
    assert!(end.join().unwrap() < Duration::from_secs(6));
    runtime.block_on(app.terse.close());
}

#[test]
fn a_server_that_stops_does_not_wait_for_listeners() {
    let mut server = Server::start(&[]);
    let token = server.token().to_owned();
    let mut stream = Stream::listen(&server, &token, "", &[]);
    let asked = Instant::now();
    server.terminate();
    stream.ends();
    assert_eq!(server.exit_code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(4), "{asked:?}");
}

#[test]
fn a_workspace_has_a_hundred_listeners_and_others_are_not_kept_out() {
    let server = Server::start(&[ON_ONE_NODE]);
    let ada = server.person("live-crowd@example.com", "user");
    let open = || Stream::listen(&server, &ada.token, "", &[]);
    let mut streams: Vec<Stream> = (0..100).map(|_| open()).collect();
    let refused = ada.get("/analytics/live");
    refused.problem_code(429, "too_many_at_once");
    assert_eq!(refused.header("retry-after"), "5");
    let _other = Stream::listen(&server, server.token(), "", &[]);
    assert_eq!(listeners(&server), 101);
    streams.pop();
    until("a place is free again", || {
        let stream = Stream::open(server.address, &ada.token, "", &[]);
        stream.head.starts_with("http/1.1 200").then_some(())
    });
}

#[test]
fn a_head_request_listens_to_nothing() {
    let server = Server::start(&[ON_ONE_NODE]);
    let request = server.request(reqwest::Method::HEAD, "/analytics/live");
    assert_eq!(request.send().unwrap().status(), 200);
    until("nobody listens", || (listeners(&server) == 0).then_some(()));
}

/// The id, and the data that a click has in the answers of other operations too.
fn happened(stream: &mut Stream) -> (String, Value) {
    let event = stream.event();
    assert_eq!(event.name, "click");
    assert!(!event.id.is_empty());
    (event.id, event.data)
}

fn clicks(server: &Server) -> Vec<Value> {
    let page = server.get("/analytics/clicks?order=asc").expect(200).json();
    page["items"].as_array().unwrap().clone()
}

#[test]
fn a_click_is_told_to_whoever_listens_as_other_answers_have_it() {
    let server = Server::start(&[]);
    let link = server.link("live-click", &json!({}));
    server.link("live-other", &json!({}));
    let id = link["id"].as_str().unwrap();
    let query = format!("?link_id={id}");
    let mut one = Stream::listen(&server, server.token(), &query, &[]);
    let mut all = Stream::listen(&server, server.token(), "?include=bots", &[]);
    server.visitor().get("/live-other").expect(302);
    let told = happened(&mut all).1;
    assert_ne!(told["link_id"], id);
    server.visitor().get("/live-click").expect(302);
    let (_, told) = happened(&mut one);
    assert_eq!(told["link_id"], id, "of this link alone");
    assert_eq!(happened(&mut all).1, told);
    assert_eq!(clicks(&server).last(), Some(&told));
}

#[test]
fn whoever_comes_back_before_the_first_event_misses_nothing() {
    let server = Server::start(&[]);
    server.link("live-soon", &json!({}));
    let stream = Stream::listen(&server, server.token(), "", &[]);
    assert_ne!(stream.id, "");
    let id = format!("Last-Event-ID: {}", stream.id);
    drop(stream);
    server.visitor().get("/live-soon").expect(302);
    let mut again = Stream::listen(&server, server.token(), "", &[&id]);
    let (_, told) = happened(&mut again);
    assert_eq!(clicks(&server), [told]);
}

#[test]
fn whoever_comes_back_goes_on_after_the_last_event() {
    let server = Server::start(&[]);
    server.link("live-again", &json!({}));
    let visit = || {
        server.visitor().get("/live-again").expect(302);
    };
    let mut stream = Stream::listen(&server, server.token(), "", &[]);
    visit();
    let (first, _) = happened(&mut stream);
    visit();
    let (second, told) = happened(&mut stream);
    drop(stream);
    visit();
    let after_first = format!("Last-Event-ID: {first}");
    let mut again = Stream::listen(&server, server.token(), "", &[&after_first]);
    assert_eq!(happened(&mut again), (second.clone(), told.clone()));
    let (_, third) = happened(&mut again);
    let mut by_query = format!("?after={first}");
    let mut again = Stream::listen(&server, server.token(), &by_query, &[]);
    assert_eq!(happened(&mut again), (second.clone(), told));
    // The browser keeps the address of the first time: what it saw last counts.
    by_query = format!("?after={first}");
    let after_second = format!("Last-Event-ID: {second}");
    let mut again = Stream::listen(&server, server.token(), &by_query, &[&after_second]);
    assert_eq!(happened(&mut again).1, third);
    let listed: Vec<Value> = clicks(&server);
    assert_eq!(listed.len(), 3);
    assert_eq!(listed.last(), Some(&third));
}

#[test]
fn an_event_that_is_none_of_ours_is_refused() {
    let server = Server::shared();
    server.get("/analytics/live?after=forged").refused("after");
    let line = ["Last-Event-ID: \u{e9}%00"];
    let stream = Stream::open(server.address, server.token(), "", &line);
    assert!(stream.head.starts_with("http/1.1 422"), "{}", stream.head);
}

#[test]
fn no_value_of_a_click_ends_its_event_or_begins_another() {
    let server = Server::start(&[]);
    server.link("live-hostile", &json!({}));
    let mut stream = Stream::listen(&server, server.token(), "", &[]);
    hostile::visit(&server, "live-hostile");
    let (_, told) = happened(&mut stream);
    assert_eq!(told["utm_source"], "=1+1");
    server.visitor().get("/live-hostile").expect(302);
    let (_, plain) = happened(&mut stream);
    assert_eq!(plain["utm_source"], "(none)", "it is the next event");
}
