//! Access tokens: JWTs as RFC 9068 describes them, signed with one pinned algorithm.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use terse_core::model::{Clock, Entropy, SessionId, UserId, random_bytes};

/// How long an access token is good for.
pub const ACCESS_TOKEN_TTL: Duration = Duration::from_mins(15);
/// The least that a signing secret may have, in bytes.
pub const MIN_SECRET_BYTES: usize = 32;

const TYPE: &str = "at+jwt";
const AUDIENCE: &str = "terse";
// Another node's clock may be a little ahead of ours: its fresh tokens are good here at once. Nothing
// is prolonged for it.
const MAX_CLOCK_LAG_SECS: i64 = 30;
// A token of ours has about 400 bytes.
const MAX_TOKEN_BYTES: usize = 4096;

/// The secret cannot sign anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Too little to resist guessing.
    #[error("must have at least {MIN_SECRET_BYTES} bytes; make one with: openssl rand -base64 48")]
    TooShort,
    /// A value from documentation or an example.
    #[error("is a placeholder that everybody knows; make one with: openssl rand -base64 48")]
    Placeholder,
    /// More than the new and the old one.
    #[error("may hold two secrets at most: new,old")]
    TooMany,
    /// The signature library refused to work.
    #[error("cannot be used to sign")]
    Unusable,
}

/// A bearer token that is not, or no longer, good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Malformed, forged, or not an access token of this server.
    #[error("not an access token of this server")]
    Invalid,
    /// Was good once.
    #[error("the access token has expired")]
    Expired,
}

/// Whom an access token speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The user.
    pub user: UserId,
    /// The session that the token was issued in.
    pub session: SessionId,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    sid: String,
    jti: String,
    iat: i64,
    nbf: i64,
    exp: i64,
}

/// Issues and verifies access tokens.
pub struct Tokens {
    issuer: String,
    signing: (String, EncodingKey),
    verifying: HashMap<String, DecodingKey>,
    validation: Validation,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Tokens {
    /// Tokens of `issuer`, signed with the first of the comma-separated `secrets` and verified with each.
    pub fn new(
        issuer: &str,
        secrets: &SecretString,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, SecretError> {
        let secrets: Vec<&str> = secrets.expose_secret().split(',').map(str::trim).collect();
        if secrets.len() > 2 {
            return Err(SecretError::TooMany);
        }
        for secret in &secrets {
            check_secret(secret)?;
        }
        let verifying = secrets
            .iter()
            .map(|secret| (key_id(secret), DecodingKey::from_secret(secret.as_bytes())))
            .collect();
        let newest = secrets.first().ok_or(SecretError::TooShort)?;
        let tokens = Self {
            issuer: issuer.to_owned(),
            signing: (key_id(newest), EncodingKey::from_secret(newest.as_bytes())),
            verifying,
            validation: validation(issuer),
            clock,
            entropy,
        };
        tokens.self_test()?;
        Ok(tokens)
    }

    /// The library finds its cryptography at run time; better to know at start than at the first sign-in.
    fn self_test(&self) -> Result<(), SecretError> {
        let user = UserId::random(&*self.entropy);
        let session = SessionId::random(&*self.entropy);
        let token = self
            .issue(Bearer { user, session })
            .map_err(|_| SecretError::Unusable)?;
        match self.verify(&token) {
            Ok(bearer) if bearer.user == user && bearer.session == session => Ok(()),
            _ => Err(SecretError::Unusable),
        }
    }

    /// A token for `bearer`, good for [`ACCESS_TOKEN_TTL`] from now.
    pub fn issue(&self, bearer: Bearer) -> Result<String, TokenError> {
        let now = self.clock.now().as_millis() / 1000;
        let lifetime = i64::try_from(ACCESS_TOKEN_TTL.as_secs()).unwrap_or(0);
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            sub: bearer.user.to_string(),
            sid: bearer.session.to_string(),
            jti: URL_SAFE_NO_PAD.encode(random_bytes::<12>(&*self.entropy)),
            iat: now,
            nbf: now,
            exp: now + lifetime,
        };
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(self.signing.0.clone());
        jsonwebtoken::encode(&header, &claims, &self.signing.1).map_err(|_| TokenError::Invalid)
    }

    /// Whom `token` speaks for, when it is an access token of this server and in force now.
    pub fn verify(&self, token: &str) -> Result<Bearer, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Invalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        if header.typ.as_deref() != Some(TYPE) {
            return Err(TokenError::Invalid);
        }
        let key = header
            .kid
            .and_then(|kid| self.verifying.get(&kid))
            .ok_or(TokenError::Invalid)?;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &self.validation)
            .map_err(|_| TokenError::Invalid)?
            .claims;
        let now = self.clock.now().as_millis() / 1000;
        if claims.nbf > now + MAX_CLOCK_LAG_SECS {
            return Err(TokenError::Invalid);
        }
        if claims.exp <= now {
            return Err(TokenError::Expired);
        }
        Ok(Bearer {
            user: claims.sub.parse().map_err(|_| TokenError::Invalid)?,
            session: claims.sid.parse().map_err(|_| TokenError::Invalid)?,
        })
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

fn validation(issuer: &str) -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    validation.leeway = 0;
    // The library reads the wall clock; ours is compared in `verify`.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation
}

fn check_secret(secret: &str) -> Result<(), SecretError> {
    let lower = secret.to_ascii_lowercase();
    let placeholder = [
        "changeme",
        "change-me",
        "secret",
        "replace-me",
        "placeholder",
    ];
    if placeholder.iter().any(|known| lower.starts_with(known)) {
        return Err(SecretError::Placeholder);
    }
    if secret.len() < MIN_SECRET_BYTES {
        return Err(SecretError::TooShort);
    }
    let first = secret.as_bytes().first();
    if secret.bytes().all(|byte| Some(&byte) == first) {
        return Err(SecretError::Placeholder);
    }
    Ok(())
}

/// Names a secret without telling anything about it.
fn key_id(secret: &str) -> String {
    let digest = Sha256::new()
        .chain_update(b"terse key id\0")
        .chain_update(secret.as_bytes())
        .finalize();
    URL_SAFE_NO_PAD.encode(&digest[..6])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use terse_core::model::{ManualClock, SeededEntropy, Timestamp};

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef-first";
    const OLDER: &str = "0123456789abcdef0123456789abcdef-older";
    const ISSUER: &str = "http://localhost:8080";

    fn tokens(secrets: &str, clock: &Arc<ManualClock>) -> Tokens {
        let entropy = Arc::new(SeededEntropy::new(7));
        Tokens::new(ISSUER, &secrets.into(), clock.clone(), entropy).unwrap()
    }

    fn clock() -> Arc<ManualClock> {
        Arc::new(ManualClock::at(Timestamp::from_millis(1_800_000_000_000)))
    }

    fn bearer() -> Bearer {
        let entropy = SeededEntropy::new(1);
        Bearer {
            user: UserId::random(&entropy),
            session: SessionId::random(&entropy),
        }
    }

    fn claims() -> Value {
        json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": bearer().user.to_string(), "sid": bearer().session.to_string(),
            "jti": "x", "iat": 1_800_000_000, "nbf": 1_800_000_000, "exp": 1_800_000_900,
        })
    }

    fn header() -> Header {
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(key_id(SECRET));
        header
    }

    fn signed(header: &Header, claims: &Value) -> String {
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        jsonwebtoken::encode(header, claims, &key).unwrap()
    }

    #[test]
    fn a_token_speaks_for_its_bearer_for_fifteen_minutes() {
        let clock = clock();
        let tokens = tokens(SECRET, &clock);
        let token = tokens.issue(bearer()).unwrap();
        assert_eq!(tokens.verify(&token), Ok(bearer()));
        clock.advance(Duration::from_secs(899));
        assert_eq!(tokens.verify(&token), Ok(bearer()));
        clock.advance(Duration::from_secs(1));
        assert_eq!(tokens.verify(&token), Err(TokenError::Expired));
    }

    #[test]
    fn a_fresh_token_of_a_node_whose_clock_is_half_a_minute_ahead_is_good_and_ends_on_time() {
        let clock = clock();
        let tokens = tokens(SECRET, &clock);
        let from = |nbf: i64| {
            let mut claims = claims();
            claims["nbf"] = json!(nbf);
            signed(&header(), &claims)
        };
        let ahead = from(1_800_000_030);
        assert_eq!(tokens.verify(&ahead), Ok(bearer()));
        let too_far = tokens.verify(&from(1_800_000_031));
        assert_eq!(too_far, Err(TokenError::Invalid));
        clock.advance(Duration::from_mins(15));
        assert_eq!(tokens.verify(&ahead), Err(TokenError::Expired));
    }

    #[test]
    fn a_hand_made_token_with_every_claim_right_is_accepted() {
        assert_eq!(
            tokens(SECRET, &clock()).verify(&signed(&header(), &claims())),
            Ok(bearer())
        );
    }

    #[test]
    fn the_older_secret_verifies_while_rotating_and_the_newer_signs() {
        let clock = clock();
        let old = tokens(OLDER, &clock).issue(bearer()).unwrap();
        let rotating = tokens(&format!("{SECRET},{OLDER}"), &clock);
        assert_eq!(rotating.verify(&old), Ok(bearer()));
        let new = rotating.issue(bearer()).unwrap();
        assert_eq!(tokens(SECRET, &clock).verify(&new), Ok(bearer()));
        assert_eq!(tokens(OLDER, &clock).verify(&new), Err(TokenError::Invalid));
    }

    #[test]
    fn claims_that_are_missing_wrong_or_of_another_type_are_refused() {
        let tokens = tokens(SECRET, &clock());
        let changes = [
            ("exp", Value::Null),
            ("exp", json!("1800000900")),
            ("exp", json!(1e300)),
            ("nbf", json!(1_800_003_600)),
            ("nbf", Value::Null),
            ("iss", json!("http://evil.example")),
            ("aud", json!("other")),
            ("aud", Value::Null),
            ("sub", json!("somebody")),
            ("sid", Value::Null),
        ];
        for (claim, value) in changes {
            let mut claims = claims();
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(claim);
            } else {
                claims[claim] = value.clone();
            }
            let verdict = tokens.verify(&signed(&header(), &claims));
            assert_eq!(verdict, Err(TokenError::Invalid), "{claim} = {value}");
        }
    }

    #[test]
    fn other_types_algorithms_and_keys_are_refused() {
        let tokens = tokens(SECRET, &clock());
        let mut refused = vec![String::new(), "..".to_owned(), "a.b.c".to_owned()];
        let with = |change: &dyn Fn(&mut Header)| {
            let mut header = header();
            change(&mut header);
            signed(&header, &claims())
        };
        refused.push(with(&|h| h.typ = Some("JWT".to_owned())));
        refused.push(with(&|h| h.typ = None));
        refused.push(with(&|h| h.alg = Algorithm::HS512));
        refused.push(with(&|h| h.kid = None));
        refused.push(with(&|h| h.kid = Some("../../dev/null".to_owned())));
        refused.push(with(&|h| h.kid = Some("k".repeat(10_240))));
        let good = signed(&header(), &claims());
        refused.push(good[..good.len() - 1].to_owned());
        let payload = good.split('.').nth(1).unwrap();
        for algorithm in ["none", "None", "nOnE", "RS256"] {
            let head = json!({"alg": algorithm, "typ": TYPE, "kid": key_id(SECRET)});
            let head = URL_SAFE_NO_PAD.encode(head.to_string());
            refused.push(format!("{head}.{payload}."));
            let signature = good.rsplit('.').next().unwrap();
            refused.push(format!("{head}.{payload}.{signature}"));
        }
        for token in refused {
            assert_eq!(tokens.verify(&token), Err(TokenError::Invalid), "{token}");
        }
    }

    #[test]
    fn weak_secrets_are_refused() {
        let refused = |secret: &str| {
            let entropy = Arc::new(SeededEntropy::new(7));
            Tokens::new(ISSUER, &secret.into(), clock(), entropy).unwrap_err()
        };
        assert_eq!(refused(""), SecretError::TooShort);
        assert_eq!(refused(&"a1".repeat(15)), SecretError::TooShort);
        assert_eq!(refused("changeme"), SecretError::Placeholder);
        assert_eq!(refused("secret"), SecretError::Placeholder);
        assert_eq!(
            refused("replace-me-with-a-random-string-please"),
            SecretError::Placeholder
        );
        assert_eq!(refused(&"x".repeat(40)), SecretError::Placeholder);
        assert_eq!(refused(&format!("{SECRET},short")), SecretError::TooShort);
        assert_eq!(
            refused(&format!("{SECRET},{OLDER},{SECRET}")),
            SecretError::TooMany
        );
    }
}
