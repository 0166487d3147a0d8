//! Where every request arrives: short URLs are answered on hyper's own types, everything else goes
//! to the API. `docs/adr/0003-redirects-on-hyper.md` says why there are two ways.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::uri::Scheme;
use http::{Request, Response, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use poem::endpoint::BoxEndpoint;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Addr, Endpoint as _};
use terse_core::model::RESERVED;

use crate::app::App;
use crate::connection::Activity;
use crate::host;
use crate::problem::Problem;
use crate::redirect;
use crate::visitor_page;

/// A body of either way.
pub type EdgeBody = Either<Full<Bytes>, BoxBody<Bytes, io::Error>>;

/// The address of the client past trusted proxies, as the API's requests carry it.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub IpAddr);

/// What answers requests.
pub struct Edge {
    pub app: Arc<App>,
    pub api: BoxEndpoint<'static>,
}

impl std::fmt::Debug for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edge")
            .field("app", &self.app)
            .finish_non_exhaustive()
    }
}

/// Whether a path is looked up as a slug: its first segment is none that the server routes itself.
pub fn is_slug_path(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else {
        return false;
    };
    let first = rest.split_once('/').map_or(rest, |(first, _)| first);
    !first.is_empty() && !RESERVED.iter().any(|word| word.eq_ignore_ascii_case(first))
}

impl Edge {
    /// Answers one request of a connection.
    pub async fn answer(
        &self,
        peer: SocketAddr,
        activity: &Arc<Activity>,
        request: Request<Incoming>,
    ) -> Result<Response<EdgeBody>, Infallible> {
        let _under_way = activity.request(request.version() == Version::HTTP_2);
        if is_slug_path(request.uri().path()) {
            let (parts, _body) = request.into_parts();
            let answer = AssertUnwindSafe(redirect::answer(&self.app, peer.ip(), &parts));
            let response = answer
                .catch_unwind()
                .await
                .unwrap_or_else(|_| self.panicked());
            return Ok(response.map(|body| Either::Left(Full::new(body))));
        }
        if host::named(request.headers(), request.uri(), request.version()).is_none() {
            self.app.metrics.refused.up();
            let refusal = Problem::malformed("The request must name one host.");
            let response = self.plain(&refusal);
            return Ok(response.map(|body| Either::Left(Full::new(body))));
        }
        Ok(self.answer_by_api(peer, request).await.map(Either::Right))
    }

    async fn answer_by_api(
        &self,
        peer: SocketAddr,
        mut request: Request<Incoming>,
    ) -> Response<BoxBody<Bytes, io::Error>> {
        let client = self.app.proxies.client(peer.ip(), request.headers());
        request.extensions_mut().insert(ClientAddress(client));
        let address = Addr::SocketAddr(peer);
        let request = poem::Request::from((
            request,
            LocalAddr(address.clone()),
            RemoteAddr(address),
            Scheme::HTTP,
        ));
        self.api.get_response(request).await.into()
    }

    #[cold]
    fn panicked(&self) -> Response<Bytes> {
        self.app.metrics.panics.up();
        self.plain(&Problem::internal())
    }

    fn plain(&self, problem: &Problem) -> Response<Bytes> {
        visitor_page::problem(problem, "", "", false, &self.app.request_id())
    }
}
