//! The host that a request is for.

use http::header::HOST;
use http::{HeaderMap, Uri, Version};

/// The one host that a request names, with its port; `None` when it names none, or several.
///
/// HTTP/1.0 may name none: the empty host, on which no link lives.
pub fn named<'a>(headers: &'a HeaderMap, uri: &'a Uri, version: Version) -> Option<&'a str> {
    let mut values = headers.get_all(HOST).iter();
    let header = values
        .next()
        .map(|value| value.to_str().unwrap_or_default());
    if values.next().is_some() {
        return None;
    }
    let authority = uri.authority().map(http::uri::Authority::as_str);
    match (authority, header) {
        (Some(authority), Some(header)) if !authority.eq_ignore_ascii_case(header) => None,
        (Some(authority), _) => Some(authority),
        (None, Some(header)) => Some(header),
        (None, None) if version == Version::HTTP_10 => Some(""),
        (None, None) => None,
    }
}
