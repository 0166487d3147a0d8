//! Where a trusted proxy says that a visitor is: headers of Cloudflare, Vercel and CloudFront.

use std::borrow::Cow;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode;
use terse_core::place::Place;

use crate::client_address::TrustedProxies;

/// The headers of one kind of proxy: country, region, city, and whether the city is percent-encoded.
struct Headers {
    country: HeaderName,
    region: HeaderName,
    city: HeaderName,
    encoded: bool,
}

static KINDS: [Headers; 3] = [
    Headers {
        country: HeaderName::from_static("cf-ipcountry"),
        region: HeaderName::from_static("cf-region-code"),
        city: HeaderName::from_static("cf-ipcity"),
        encoded: false,
    },
    Headers {
        country: HeaderName::from_static("x-vercel-ip-country"),
        region: HeaderName::from_static("x-vercel-ip-country-region"),
        city: HeaderName::from_static("x-vercel-ip-city"),
        encoded: true,
    },
    Headers {
        country: HeaderName::from_static("cloudfront-viewer-country"),
        region: HeaderName::from_static("cloudfront-viewer-country-region"),
        city: HeaderName::from_static("cloudfront-viewer-city"),
        encoded: true,
    },
];

/// What a proxy told of a visitor's place, decoded and not judged yet.
#[derive(Debug, Default)]
pub struct ToldPlace<'a> {
    country: &'a str,
    region: &'a str,
    city: Cow<'a, str>,
}

impl<'a> ToldPlace<'a> {
    /// What the headers say if `peer` is a trusted proxy, else nothing: anybody can send them.
    ///
    /// The first kind of proxy that says anything decides, also by saying that it doesn't know. A
    /// visitor who adds headers of another kind changes nothing.
    pub fn by(peer: IpAddr, proxies: &TrustedProxies, headers: &'a HeaderMap) -> Self {
        if !proxies.trust(peer) {
            return Self::default();
        }
        let kind = KINDS
            .iter()
            .find(|kind| headers.contains_key(&kind.country));
        kind.map_or_else(Self::default, |kind| Self {
            country: text(headers, &kind.country),
            region: text(headers, &kind.region),
            city: name(bytes(headers, &kind.city), kind.encoded),
        })
    }

    /// The place, as far as what was told makes sense.
    pub fn place(&self) -> Place<'_> {
        Place::new(self.country, self.region, &self.city)
    }
}

fn bytes<'a>(headers: &'a HeaderMap, header: &HeaderName) -> &'a [u8] {
    headers.get(header).map_or(&[], |value| value.as_bytes())
}

fn text<'a>(headers: &'a HeaderMap, header: &HeaderName) -> &'a str {
    std::str::from_utf8(bytes(headers, header)).map_or("", str::trim)
}

/// A name that came as UTF-8, or as ISO 8859-1 where it isn't that.
fn name(bytes: &[u8], encoded: bool) -> Cow<'_, str> {
    let decoded = if encoded {
        Cow::from(percent_decode(bytes))
    } else {
        Cow::Borrowed(bytes)
    };
    let latin = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect();
    match decoded {
        Cow::Borrowed(bytes) => {
            std::str::from_utf8(bytes).map_or_else(|_| Cow::Owned(latin(bytes)), Cow::Borrowed)
        }
        Cow::Owned(bytes) => {
            Cow::Owned(String::from_utf8(bytes).unwrap_or_else(|error| latin(error.as_bytes())))
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn proxies() -> TrustedProxies {
        TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()])
    }

    fn told(peer: IpAddr, sent: &[(&'static str, &[u8])]) -> [String; 3] {
        let mut headers = HeaderMap::new();
        for (header, value) in sent {
            headers.insert(*header, HeaderValue::from_bytes(value).unwrap());
        }
        let told = ToldPlace::by(peer, &proxies(), &headers);
        let place = told.place();
        [place.country(), place.region(), place.city()].map(str::to_owned)
    }

    #[test]
    fn each_kind_of_proxy_is_understood() {
        type Sent<'a> = &'a [(&'static str, &'a [u8])];
        let cases: [(Sent<'_>, [&str; 3]); 11] = [
            (&[("cf-ipcountry", b"DE")], ["DE", "", ""]),
            (
                &[
                    ("cf-ipcountry", b"DE"),
                    ("cf-region-code", b"BE"),
                    ("cf-ipcity", b"Berlin"),
                ],
                ["DE", "DE-BE", "Berlin"],
            ),
            (
                &[
                    ("cf-ipcountry", b"BR"),
                    ("cf-ipcity", "S\u{e3}o Paulo".as_bytes()),
                ],
                ["BR", "", "S\u{e3}o Paulo"],
            ),
            (
                &[("cf-ipcountry", b"BR"), ("cf-ipcity", b"S\xe3o Paulo")],
                ["BR", "", "S\u{e3}o Paulo"],
            ),
            (&[("cf-ipcountry", b"XX")], ["", "", ""]),
            (
                &[("cf-ipcountry", b"T1"), ("cf-ipcity", b"Berlin")],
                ["", "", ""],
            ),
            (
                &[("cf-ipcountry", b"XX"), ("x-vercel-ip-country", b"FR")],
                ["", "", ""],
            ),
            (&[("cf-ipcity", b"Berlin")], ["", "", ""]),
            (
                &[
                    ("x-vercel-ip-country", b"BR"),
                    ("x-vercel-ip-country-region", b"SP"),
                    ("x-vercel-ip-city", b"S%C3%A3o%20Paulo"),
                ],
                ["BR", "BR-SP", "S\u{e3}o Paulo"],
            ),
            (
                &[
                    ("x-vercel-ip-country", b"BR"),
                    ("x-vercel-ip-city", b"S%E3o%ZZ"),
                ],
                ["BR", "", "S\u{e3}o%ZZ"],
            ),
            (
                &[
                    ("cloudfront-viewer-country", b"US"),
                    ("cloudfront-viewer-country-region", b"WA"),
                    ("cloudfront-viewer-city", b"Seattle"),
                ],
                ["US", "US-WA", "Seattle"],
            ),
        ];
        for (sent, place) in cases {
            assert_eq!(told(PROXY, sent), place, "{sent:?}");
        }
    }

    #[test]
    fn nobody_else_is_believed() {
        let sent: &[(&str, &[u8])] = &[("cf-ipcountry", b"DE"), ("x-vercel-ip-country", b"DE")];
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(told("9.9.9.9".parse().unwrap(), sent), ["", "", ""]);
        assert_eq!(told("::1".parse().unwrap(), sent), ["", "", ""]);
        assert_eq!(told(mapped, sent), ["DE", "", ""]);
    }

    proptest! {
        #[test]
        fn no_header_makes_reading_it_panic(city in prop::collection::vec(32u8..=255, 0..600)) {
            for kind in &KINDS {
                let mut headers = HeaderMap::new();
                headers.insert(&kind.country, HeaderValue::from_static("DE"));
                if let Ok(value) = HeaderValue::from_bytes(&city) {
                    headers.insert(&kind.city, value);
                }
                let proxies = proxies();
                let told = ToldPlace::by(PROXY, &proxies, &headers);
                let place = told.place();
                prop_assert_eq!(place.country(), "DE");
            }
        }
    }
}
