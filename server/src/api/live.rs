//! Clicks as they happen, as server-sent events.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::try_unfold;
use http::header::CACHE_CONTROL;
use poem::web::Data;
use poem::{Body, IntoResponse, Request, Response};
use poem_openapi::registry::{
    MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use poem_openapi::types::Type as _;
use poem_openapi::{ApiResponse, OpenApi};
use terse_core::analytics::{Live, LiveClick};
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use crate::api::Tag;
use crate::api::click::Click;
use crate::api::question::Question;
use crate::api::security::{Caller, Known};
use crate::app::App;
use crate::connection::CONTROL_BYTES;
use crate::problem::Problem;
use crate::seats::Seat;

pub struct LiveApi;

const EVENT_STREAM: &str = "text/event-stream";
/// When a client comes back after the stream ended, in milliseconds.
const BEGINNING: &str = "retry: 1000\n";
/// Said while nothing happens.
const HEARTBEAT: &str =
    ": nothing was clicked for a while; this line keeps proxies from closing the connection\n";
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);
/// How long somebody goes on listening who may not any more.
const CHECK_EVERY: Duration = Duration::from_secs(1);

// What is shorter does not count as progress of a connection, and it would be closed.
const _: () = assert!(HEARTBEAT.len() > CONTROL_BYTES);

/// A client that listens. It gives its seat back when the stream ends or the client is gone.
struct Listener {
    app: Arc<App>,
    caller: Known,
    live: Live,
    checks: Interval,
    heartbeats: Interval,
    has_begun: bool,
    _seat: Seat,
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval_at(tokio::time::Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn event(happened: LiveClick) -> io::Result<String> {
    // JSON escapes line breaks: no value ends the event.
    let data = serde_json::to_string(&Click(happened.click))?;
    Ok(format!(
        "id: {}\nevent: click\ndata: {data}\n\n",
        happened.id
    ))
}

/// Says where the listener is as well: who comes back without having heard a click goes on from there.
/// Without data it is no event.
fn place(text: &str, live: &Live) -> String {
    match live.id() {
        Some(id) => format!("{text}id: {id}\n\n"),
        None => format!("{text}\n"),
    }
}

impl Listener {
    /// What is sent next; nothing once the server stops or the caller may not listen any more.
    async fn part(mut self) -> io::Result<Option<(Bytes, Self)>> {
        if !self.has_begun {
            self.has_begun = true;
            let text = place(BEGINNING, &self.live);
            return Ok(Some((text.into(), self)));
        }
        let happened = {
            // Waiting goes on across checks: what it reads meanwhile must not begin anew each second.
            let next = self.live.next();
            tokio::pin!(next);
            loop {
                tokio::select! {
                    biased;
                    () = self.app.stopping.cancelled() => return Ok(None),
                    _ = self.checks.tick() => {
                        if self.caller.is_still_let_in(&self.app).await.is_err() {
                            return Ok(None);
                        }
                    }
                    happened = &mut next => match happened {
                        Ok(happened) => break Some(happened),
                        Err(error) => {
                            let error = &error as &dyn std::error::Error;
                            tracing::warn!(error, "a stream of clicks ended early");
                            return Ok(None);
                        }
                    },
                    _ = self.heartbeats.tick() => break None,
                }
            }
        };
        self.heartbeats.reset();
        let text = match happened {
            Some(happened) => event(happened)?,
            None => place(HEARTBEAT, &self.live),
        };
        Ok(Some((text.into(), self)))
    }
}

/// Events for as long as somebody listens.
struct Events(Listener);

impl IntoResponse for Events {
    fn into_response(self) -> Response {
        let body = Body::from_bytes_stream(try_unfold(self.0, Listener::part));
        Response::builder()
            .content_type(EVENT_STREAM)
            .header(CACHE_CONTROL, "no-store")
            // Proxies that know it pass every event on at once.
            .header("x-accel-buffering", "no")
            .body(body)
    }
}

impl ApiResponse for Events {
    fn meta() -> MetaResponses {
        let schema = MetaSchema {
            description: Some("Events named `click`, each with an `id` and a `Click` as `data`"),
            ..MetaSchema::new("string")
        };
        MetaResponses {
            responses: vec![MetaResponse {
                description: "Clicks from now on",
                status: Some(200),
                status_range: None,
                content: vec![MetaMediaType {
                    content_type: EVENT_STREAM,
                    schema: MetaSchemaRef::Inline(Box::new(schema)),
                }],
                headers: Vec::new(),
            }],
        }
    }

    fn register(registry: &mut Registry) {
        Click::register(registry);
    }
}

/// The id of the event that a client had last.
fn last_event(request: &Request) -> Option<String> {
    let id = request.headers().get("last-event-id")?;
    let id = String::from_utf8_lossy(id.as_bytes());
    Some(id.into_owned()).filter(|id| !id.is_empty())
}

#[OpenApi(tag = "Tag::Analytics")]
impl LiveApi {
    /// Clicks as they happen
    ///
    /// Server-sent events. Send the last `id` as `Last-Event-ID` to go on after it: no click twice,
    /// none left out. The stream ends when the access token does, and whenever the caller may not
    /// listen any more. At most 100 clients of a workspace listen at once (429), and 2,000 in all (503).
    #[oai(path = "/analytics/live", method = "get", operation_id = "listen")]
    async fn live(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        mut question: Question,
        request: &Request,
    ) -> Result<Events, Problem> {
        let after = question.take("after");
        let after = last_event(request).or(after);
        let workspace = caller.0.workspace;
        let seat = app.limits.listeners.take(workspace)?;
        let live = app.terse.analytics();
        let live = live.live(&workspace, question.query, after.as_deref());
        Ok(Events(Listener {
            app: Arc::clone(&app),
            live: live.await?,
            caller: caller.0,
            checks: every(CHECK_EVERY),
            heartbeats: every(HEARTBEAT_EVERY),
            has_begun: false,
            _seat: seat,
        }))
    }
}
