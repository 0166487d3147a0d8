//! What the load generator sends.

/// One thread's requests: what to send, and what came of it.
///
/// A client that names each request (to find the lost ones after a crash) remembers in `tag`
/// which request a connection waits for.
pub trait Traffic: Send {
    /// Appends one complete HTTP/1.1 request to `request`, and names it.
    fn next(&mut self, request: &mut Vec<u8>) -> u64;

    /// The request `tag` was answered with `status`.
    fn answered(&mut self, tag: u64, status: u16) {
        let _ = (tag, status);
    }
}

/// A small, fast, seeded generator (`SplitMix64`, Steele et al. 2014): the same seed sends the
/// same requests.
#[derive(Clone, Debug)]
pub struct SplitMix(u64);

impl SplitMix {
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// An index below `bound`, which is not zero (Lemire's multiply-shift; the bias at these
    /// sizes is below 2^-40).
    pub fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.bits()) * bound as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }
}

/// Random visits: any path with any browser, as prebuilt bytes.
#[derive(Clone, Debug)]
pub struct Visits {
    heads: Vec<Box<[u8]>>,
    tails: Vec<Box<[u8]>>,
    random: SplitMix,
}

impl Visits {
    /// Visits of `paths` (with their slash) on `host`, by browsers with these user agents.
    pub fn new(host: &str, paths: &[String], agents: &[String], seed: u64) -> Self {
        const LANGUAGES: [&str; 4] = [
            "en-US,en;q=0.9",
            "de-DE,de;q=0.9,en;q=0.7",
            "fr-FR,fr;q=0.8",
            "ja,en-US;q=0.7",
        ];
        let heads = paths
            .iter()
            .map(|path| boxed(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n")))
            .collect();
        let tails = agents
            .iter()
            .zip(LANGUAGES.iter().cycle())
            .map(|(agent, language)| {
                boxed(format!(
                    "User-Agent: {agent}\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\n\
                     Accept-Language: {language}\r\nReferer: https://news.example/today\r\n\r\n"
                ))
            })
            .collect();
        Self {
            heads,
            tails,
            random: SplitMix::seeded(seed),
        }
    }

    /// The same visits in another order, for another thread.
    #[must_use]
    pub fn reseeded(&self, seed: u64) -> Self {
        let mut other = self.clone();
        other.random = SplitMix::seeded(seed);
        other
    }
}

impl Traffic for Visits {
    fn next(&mut self, request: &mut Vec<u8>) -> u64 {
        request.extend_from_slice(&self.heads[self.random.below(self.heads.len())]);
        request.extend_from_slice(&self.tails[self.random.below(self.tails.len())]);
        0
    }
}

/// Posts of JSON bodies, one after the other from a common list; each is sent once.
#[derive(Clone, Debug)]
pub struct Posts {
    requests: Vec<Box<[u8]>>,
    next: usize,
}

impl Posts {
    /// `bodies` to `path` on `host`, with a bearer token.
    pub fn new(host: &str, path: &str, token: &str, bodies: impl Iterator<Item = String>) -> Self {
        let requests = bodies
            .map(|body| {
                boxed(format!(
                    "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
                     Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                ))
            })
            .collect();
        Self { requests, next: 0 }
    }

    /// Requests in the list.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}

impl Traffic for Posts {
    fn next(&mut self, request: &mut Vec<u8>) -> u64 {
        request.extend_from_slice(&self.requests[self.next % self.requests.len()]);
        self.next += 1;
        (self.next - 1) as u64
    }
}

fn boxed(text: String) -> Box<[u8]> {
    text.into_bytes().into_boxed_slice()
}
