//! The addresses that this installation answers on.

use url::Url;

use crate::model::DomainId;

/// The public address, and the hosts that links are looked up on.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// Scheme, host and port, without a trailing slash.
    origin: String,
    /// Lower case, without port and trailing dot.
    pub(crate) host: String,
    pub(crate) domain: DomainId,
}

/// The text cannot be the public address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the public URL must be http or https with a host and nothing after it, as in https://go.example"
)]
pub struct PublicUrlError;

impl Site {
    /// Reads a public URL; its domain is not known yet.
    pub(crate) fn parse(public_url: &str) -> Result<Self, PublicUrlError> {
        let url = Url::parse(public_url).map_err(|_| PublicUrlError)?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        let host = url.host_str().filter(|_| plain).ok_or(PublicUrlError)?;
        Ok(Self {
            origin: url.as_str().trim_end_matches('/').to_owned(),
            host: host.trim_end_matches('.').to_ascii_lowercase(),
            domain: DomainId::from_number(0),
        })
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    pub(crate) fn short_url(&self, slug: &str) -> String {
        format!("{}/{slug}", self.origin)
    }

    /// The domain of a `Host` header: its port, case and trailing dot do not matter.
    pub(crate) fn domain_of(&self, host: &str) -> Option<DomainId> {
        let name = without_port(host);
        let name = name.strip_suffix('.').unwrap_or(name);
        name.eq_ignore_ascii_case(&self.host).then_some(self.domain)
    }
}

fn without_port(host: &str) -> &str {
    if host.starts_with('[') {
        return host.find(']').map_or(host, |end| &host[..=end]);
    }
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_known_whatever_its_port_case_and_trailing_dot() {
        let site = Site::parse("https://Go.Example:8443").unwrap();
        for host in [
            "go.example",
            "GO.EXAMPLE",
            "go.example:80",
            "go.example.",
            "go.example.:1",
        ] {
            assert_eq!(site.domain_of(host), Some(site.domain), "{host}");
        }
        for host in [
            "",
            "example",
            "evil.example",
            "go.example.evil",
            "[::1]:80",
            ":80",
        ] {
            assert_eq!(site.domain_of(host), None, "{host}");
        }
    }

    #[test]
    fn a_public_url_is_an_origin_and_nothing_more() {
        for text in [
            "go.example",
            "ftp://go.example",
            "https://u@go.example",
            "https://go.example/x",
            "https://go.example?x",
        ] {
            assert!(Site::parse(text).is_err(), "{text}");
        }
        assert_eq!(
            Site::parse("http://localhost:8080/")
                .unwrap()
                .short_url("a"),
            "http://localhost:8080/a"
        );
    }
}
