//! A URL shortener on plain hyper in a hundred lines: `terse-core` brings links, redirects, exact
//! click counts and figures; the program brings the web server that it likes.
//!
//! `cargo run -p terse-core --example embed`, then open the address that it prints in a browser.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{HOST, LOCATION, USER_AGENT};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use secrecy::SecretString;
use terse_core::analytics::AnalyticsQuery;
use terse_core::classify::RequestFacts;
use terse_core::model::{Actor, InstanceRole, NewLink, NewUser, Origin, WorkspaceId};
use terse_core::{Resolution, Terse};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let dir = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "embed-data".to_owned());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let terse = Terse::builder()
        .sqlite(format!("{dir}/links.db"))
        .public_url("http://localhost")
        .open()
        .await?;
    let workspace = workspace(&terse).await?;
    let new = NewLink::to("https://example.com/a").alias("launch");
    // On a second run the link is there already.
    let link = match terse.links().create(&workspace, new).await {
        Ok(link) => link,
        Err(_) => {
            terse
                .links()
                .lookup(&workspace, "http://localhost/launch")
                .await?
        }
    };
    say(&format!("{} leads to {}", link.short_url, link.target_url));
    say(&format!("http://localhost:{}/launch", address.port()));
    say(&format!("http://localhost:{}/figures", address.port()));
    loop {
        let (stream, peer) = listener.accept().await?;
        let terse = terse.clone();
        let service = service_fn(move |request| {
            let terse = terse.clone();
            async move { Ok::<_, Infallible>(answer(&terse, workspace, peer, request).await) }
        });
        tokio::spawn(async move {
            let io = TokioIo::new(stream);
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(io, service)
                .await;
        });
    }
}

async fn answer(
    terse: &Terse,
    workspace: WorkspaceId,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if path == "/figures" {
        return match terse
            .analytics()
            .summary(&workspace, AnalyticsQuery::default(), None)
            .await
        {
            Ok(figures) => text(StatusCode::OK, format!("{figures:#?}")),
            Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        };
    }
    let header = |name| {
        request
            .headers()
            .get(name)
            .map_or(&b""[..], |value| value.as_bytes())
    };
    let facts = RequestFacts {
        head: request.method() == hyper::Method::HEAD,
        query: request.uri().query(),
        user_agent: header(USER_AGENT),
        ..RequestFacts::of(peer.ip())
    };
    let host = std::str::from_utf8(header(HOST)).unwrap_or_default();
    match terse.resolve(host, path, &facts).await {
        Ok(Resolution::Redirect(redirect)) => {
            let mut response = text(StatusCode::FOUND, String::new());
            if let Ok(location) = hyper::header::HeaderValue::from_maybe_shared(redirect.location) {
                response.headers_mut().insert(LOCATION, location);
            }
            response
        }
        Ok(Resolution::Gone(_)) => text(StatusCode::GONE, "gone".to_owned()),
        Ok(_) => text(StatusCode::NOT_FOUND, "no such link".to_owned()),
        Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

/// The workspace of the one user of this program.
async fn workspace(terse: &Terse) -> anyhow::Result<WorkspaceId> {
    let password = SecretString::from("an embedded password");
    let user = NewUser {
        email: "owner@localhost".to_owned(),
        password: password.clone(),
        role: InstanceRole::Admin,
        name: None,
    };
    // On a second run the user is there already.
    let _ = terse.accounts().create_user(user, &Actor::system()).await;
    let grant = terse
        .accounts()
        .sign_in("owner@localhost", &password, &Origin::default())
        .await?;
    let principal = terse
        .accounts()
        .authenticate(grant.session, grant.user, None)
        .await;
    Ok(principal
        .context("the session was made a moment ago")?
        .workspace)
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}

#[expect(clippy::print_stdout, reason = "an example tells what it does")]
fn say(line: &str) {
    println!("{line}");
}
