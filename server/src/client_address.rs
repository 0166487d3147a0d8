//! Who is asking: the address of the client, seen past proxies that are trusted.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
// A chain of proxies is short; whatever is longer was made up.
const MAX_HOPS: usize = 32;

/// The networks whose word about a client is believed: `X-Forwarded-For`, and where it is.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Believes the proxies of these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether what comes from `peer` comes from a trusted proxy.
    pub fn trust(&self, peer: IpAddr) -> bool {
        self.contains(peer.to_canonical())
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client's address: `peer`, or the rightmost address of `X-Forwarded-For` that no trusted proxy has.
    ///
    /// IPv4 addresses written as IPv6 are unwrapped. What is no address ends the walk at the last hop that was one.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if self.0.is_empty() || !self.contains(client) {
            return client;
        }
        let hops = headers
            .get_all(X_FORWARDED_FOR)
            .iter()
            .rev()
            .flat_map(|value| value.as_bytes().rsplit(|&byte| byte == b','))
            .take(MAX_HOPS);
        for hop in hops {
            let Some(address) = parse_hop(hop) else {
                break;
            };
            client = address;
            if !self.contains(client) {
                break;
            }
        }
        client
    }
}

/// Reads one hop: an address, optionally with a port or in brackets.
fn parse_hop(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let address = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()))
        .or_else(|_| {
            text.trim_start_matches('[')
                .trim_end_matches(']')
                .parse::<IpAddr>()
        })
        .ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn client(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let trusted = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_str(value).unwrap());
        }
        headers.insert("x-real-ip", HeaderValue::from_static("6.6.6.6"));
        headers.insert("forwarded", HeaderValue::from_static("for=6.6.6.6"));
        headers.insert("cf-connecting-ip", HeaderValue::from_static("6.6.6.6"));
        TrustedProxies::new(trusted)
            .client(peer.parse().unwrap(), &headers)
            .to_string()
    }

    #[test]
    fn a_peer_that_is_not_trusted_is_the_client_whatever_it_claims() {
        assert_eq!(client(&[], "9.9.9.9", &["1.1.1.1"]), "9.9.9.9");
        assert_eq!(client(&["10.0.0.0/8"], "9.9.9.9", &["1.1.1.1"]), "9.9.9.9");
        assert_eq!(client(&[], "::ffff:9.9.9.9", &[]), "9.9.9.9");
    }

    #[test]
    fn the_walk_goes_from_right_to_left_and_stops_at_the_first_untrusted_hop() {
        let proxies = ["127.0.0.0/8", "10.0.0.0/8"];
        let cases: [(&[&str], &str); 12] = [
            (&["9.9.9.9"], "9.9.9.9"),
            (&["1.1.1.1, 9.9.9.9"], "9.9.9.9"),
            (&["1.1.1.1, 9.9.9.9, 10.1.2.3"], "9.9.9.9"),
            (&["1.1.1.1", "9.9.9.9"], "9.9.9.9"),
            (&["9.9.9.9", "10.1.2.3"], "9.9.9.9"),
            (&["::ffff:9.9.9.9"], "9.9.9.9"),
            (&["9.9.9.9:4711"], "9.9.9.9"),
            (&["[2001:db8::1]:80"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["unknown"], "127.0.0.1"),
            (&["9.9.9.9, unknown, 10.0.0.1"], "10.0.0.1"),
            (&["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
        ];
        for (forwarded, expected) in cases {
            assert_eq!(
                client(&proxies, "127.0.0.1", forwarded),
                expected,
                "{forwarded:?}"
            );
        }
        assert_eq!(client(&proxies, "127.0.0.1", &[]), "127.0.0.1");
    }

    #[test]
    fn a_long_header_is_read_up_to_a_bound() {
        let long = "10.0.0.1,".repeat(1_000) + "10.0.0.1";
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.2", &[&long]), "10.0.0.1");
    }

    proptest! {
        #[test]
        fn no_header_makes_the_walk_panic_and_untrusted_peers_stay_themselves(bytes in prop::collection::vec(32u8..=255, 0..200)) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                headers.insert(X_FORWARDED_FOR, value);
            }
            let proxies = TrustedProxies::new(vec!["127.0.0.0/8".parse().unwrap()]);
            proxies.client(IpAddr::from([127, 0, 0, 1]), &headers);
            let peer = IpAddr::from([9, 9, 9, 9]);
            prop_assert_eq!(proxies.client(peer, &headers), peer);
        }
    }
}
