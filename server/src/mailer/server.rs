//! A mail server as its URL describes it.

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::{Host, Url};

/// When the connection to a mail server becomes an encrypted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// From the first byte.
    Immediate,
    /// By STARTTLS, before anything else; without it nothing is sent.
    Starttls,
    /// Never: for a server on the same machine or wire.
    None,
}

/// Where mails are handed over, and as whom.
#[derive(Clone, Debug)]
pub struct SmtpServer {
    /// A name, or an address without brackets.
    pub host: String,
    pub port: u16,
    pub encryption: Encryption,
    pub credentials: Option<(String, SecretString)>,
}

const EXPECTED: &str = "must be like smtp://user:password@mail.example:587 or smtps://user:password@mail.example:465, with special characters percent-encoded";

impl SmtpServer {
    /// Reads a URL; what is wrong with it is told without repeating it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| EXPECTED)?;
        let host = Self::host(&url).ok_or(EXPECTED)?;
        let here = host == "localhost"
            || host
                .parse()
                .is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(EXPECTED);
        }
        let encryption = match (url.scheme(), url.query()) {
            ("smtps", None) => Encryption::Immediate,
            ("smtp", Some("tls=none")) => Encryption::None,
            // What never leaves the machine needs no certificate.
            ("smtp", None) if here => Encryption::None,
            ("smtp", None | Some("tls=required")) => Encryption::Starttls,
            ("smtp" | "smtps", _) => {
                return Err("only tls=required and tls=none may follow smtp://host/?");
            }
            _ => return Err(EXPECTED),
        };
        let credentials = Self::credentials(&url)?;
        if encryption == Encryption::None && !here && credentials.is_some() {
            return Err("would send the password unencrypted; use smtps://, or leave out tls=none");
        }
        let port = url.port().unwrap_or(match encryption {
            Encryption::Immediate => 465,
            Encryption::Starttls => 587,
            Encryption::None => 25,
        });
        Ok(Self {
            host,
            port,
            encryption,
            credentials,
        })
    }

    fn host(url: &Url) -> Option<String> {
        // The scheme is none that the URL standard knows, so addresses arrive as names.
        match url.host()? {
            Host::Domain("") => None,
            Host::Domain(name) => Some(name.to_ascii_lowercase()),
            Host::Ipv4(address) => Some(address.to_string()),
            Host::Ipv6(address) => Some(address.to_string()),
        }
    }

    fn credentials(url: &Url) -> Result<Option<(String, SecretString)>, &'static str> {
        let decoded = |text: &str| {
            let bytes = percent_decode_str(text).decode_utf8();
            bytes.map(String::from).map_err(|_| EXPECTED)
        };
        match (url.username(), url.password()) {
            ("", None) => Ok(None),
            ("", Some(_)) | (_, None) => Err(EXPECTED),
            (user, Some(password)) => Ok(Some((
                decoded(user)?,
                SecretString::from(decoded(password)?),
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_url_says_where_how_and_as_whom() {
        for (url, host, port, encryption) in [
            (
                "smtps://mail.example",
                "mail.example",
                465,
                Encryption::Immediate,
            ),
            (
                "smtp://Mail.example",
                "mail.example",
                587,
                Encryption::Starttls,
            ),
            (
                "smtp://mail.example:2525/",
                "mail.example",
                2525,
                Encryption::Starttls,
            ),
            (
                "smtp://mail.example?tls=none",
                "mail.example",
                25,
                Encryption::None,
            ),
            ("smtp://localhost", "localhost", 25, Encryption::None),
            ("smtp://127.0.0.1:1025", "127.0.0.1", 1025, Encryption::None),
            ("smtp://[::1]:1025", "::1", 1025, Encryption::None),
            (
                "smtp://localhost?tls=required",
                "localhost",
                587,
                Encryption::Starttls,
            ),
        ] {
            let server = SmtpServer::parse(url).unwrap();
            assert_eq!(
                (&*server.host, server.port, server.encryption),
                (host, port, encryption),
                "{url}"
            );
            assert!(server.credentials.is_none());
        }
        let server = SmtpServer::parse("smtps://me%40x.example:p%2Fw%3A@mail.example").unwrap();
        assert!(!format!("{server:?}").contains("p/w:"));
        let (user, password) = server.credentials.unwrap();
        assert_eq!((&*user, password.expose_secret()), ("me@x.example", "p/w:"));
    }

    #[test]
    fn a_url_that_would_not_do_is_refused_without_being_repeated() {
        for url in [
            "mail.example",
            "http://hunter2.example",
            "smtp://",
            "smtp://hunter2@mail.example",
            "smtp://:hunter2@mail.example",
            "smtps://u:hunter2@mail.example/path",
            "smtps://u:hunter2@mail.example?tls=none",
            "smtp://u:hunter2@mail.example?tls=opportunistic",
            "smtp://u:hunter2@mail.example?tls=none",
        ] {
            let error = SmtpServer::parse(url).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
