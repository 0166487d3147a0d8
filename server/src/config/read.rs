//! What the value of each setting means.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lettre::message::Mailbox;
use secrecy::SecretString;
use terse_core::shared::{RedisUrl, RedisUrlError};

use super::sources::{Found, KEYS, SECRETS, Sources, found};
use super::{
    ClickDurability, Config, ConfigError, LogFormat, OnUnrecordable, Registration, Shown,
    VisitorEpoch, parse_duration, parse_size,
};
use crate::client_address::TrustedProxies;
use crate::mailer::SmtpServer;

/// Reads the settings, or says which of them cannot be used.
pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
    Values(found(sources)?).config()
}

struct Values(BTreeMap<&'static str, Found>);

impl Values {
    fn config(self) -> Result<Config, ConfigError> {
        Ok(Config {
            listen: self.parse(
                "listen",
                "must be an address and port such as 127.0.0.1:8080",
            )?,
            public_url: self.public_url()?,
            data_dir: PathBuf::from(self.required("data_dir")?),
            database_url: self.database_url()?,
            redis_url: self.redis_url()?,
            admin_email: self.optional("admin_email").map(str::to_owned),
            admin_password: self.secret("admin_password"),
            jwt_secret: self.secret("jwt_secret"),
            smtp: self.smtp()?,
            mail_from: self.mail_from()?,
            registration: self.choice(
                "registration",
                &[
                    ("open", Registration::Open),
                    ("invite", Registration::Invite),
                    ("closed", Registration::Closed),
                ],
            )?,
            trusted_proxies: self.trusted_proxies()?,
            geoip_db: self.optional("geoip_db").map(PathBuf::from),
            cors_origins: self.parse(
                "cors_origins",
                "must be origins such as https://app.example, separated by commas; there is no wildcard",
            )?,
            click_durability: self.click_durability()?,
            on_unrecordable: self.choice(
                "on_unrecordable",
                &[
                    ("serve", OnUnrecordable::Serve),
                    ("refuse", OnUnrecordable::Refuse),
                ],
            )?,
            spool_retain: self.with("spool_retain", parse_duration, "30m, 1h or 7d")?,
            spool_max_bytes: self.with("spool_max_bytes", parse_size, "512MiB or 2GiB")?,
            visitor_epoch: self.choice(
                "visitor_epoch",
                &[("month", VisitorEpoch::Month), ("day", VisitorEpoch::Day)],
            )?,
            slug_length: self.within("slug_length", 4, 32)?,
            rate_limit_redirect: self.rate("rate_limit_redirect")?,
            rate_limit_api: self.rate("rate_limit_api")?,
            rate_limit_auth: self.rate("rate_limit_auth")?,
            max_connections: self.within("max_connections", 1, 1_000_000)?,
            log: self.required("log")?.to_owned(),
            log_format: self.choice(
                "log_format",
                &[("text", LogFormat::Text), ("json", LogFormat::Json)],
            )?,
            shown: self.shown(),
        })
    }

    fn text(&self, key: &str) -> &str {
        self.0.get(key).map_or("", |found| found.text.trim())
    }

    fn optional(&self, key: &str) -> Option<&str> {
        Some(self.text(key)).filter(|text| !text.is_empty())
    }

    fn required(&self, key: &str) -> Result<&str, ConfigError> {
        self.optional(key)
            .ok_or_else(|| self.refused(key, "must not be empty"))
    }

    fn secret(&self, key: &str) -> Option<SecretString> {
        let found = self.0.get(key)?;
        // A secret set to nothing is a mistake to be told about, not an unset one.
        (found.source != "default").then(|| self.text(key).into())
    }

    fn refused(&self, key: &str, message: impl Into<String>) -> ConfigError {
        let name = self.0.get(key).map_or(key, |found| &found.name);
        ConfigError::new(name, message)
    }

    fn parse<T: std::str::FromStr>(&self, key: &str, expected: &str) -> Result<T, ConfigError> {
        self.text(key)
            .parse()
            .map_err(|_| self.refused(key, expected))
    }

    fn with<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Option<T>,
        examples: &str,
    ) -> Result<T, ConfigError> {
        parse(self.text(key)).ok_or_else(|| self.refused(key, format!("must be like {examples}")))
    }

    fn within<T>(&self, key: &str, min: T, max: T) -> Result<T, ConfigError>
    where
        T: std::str::FromStr + PartialOrd + std::fmt::Display + Copy,
    {
        let expected = format!("must be a whole number from {min} to {max}");
        let number: T = self.parse(key, &expected)?;
        if number < min || number > max {
            return Err(self.refused(key, expected));
        }
        Ok(number)
    }

    fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<T, ConfigError> {
        let text = self.text(key);
        let found = choices.iter().find(|(name, _)| *name == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            self.refused(key, format!("must be {}", names.join(" or ")))
        })
    }

    fn rate<T: std::str::FromStr>(&self, key: &str) -> Result<T, ConfigError> {
        self.parse(key, "must be a rate such as 200/s, 10/m or 1000/h, or off")
    }

    fn click_durability(&self) -> Result<ClickDurability, ConfigError> {
        let key = "click_durability";
        match self.text(key) {
            "memory" => {
                Err(self.refused(key, "memory would lose clicks; use process, power or node"))
            }
            _ => self.choice(
                key,
                &[
                    ("process", ClickDurability::Process),
                    ("power", ClickDurability::Power),
                    ("node", ClickDurability::Node),
                ],
            ),
        }
    }

    fn public_url(&self) -> Result<String, ConfigError> {
        let key = "public_url";
        let refused = || {
            self.refused(
                key,
                "must be http:// or https:// and a host, without a path, as in https://sho.rt",
            )
        };
        let text = self.text(key).trim_end_matches('/');
        let uri: http::Uri = text.parse().map_err(|_| refused())?;
        let scheme = uri.scheme_str().ok_or_else(refused)?;
        let authority = uri.authority().ok_or_else(refused)?;
        let plain = matches!(scheme, "http" | "https")
            && !authority.host().is_empty()
            && !authority.as_str().contains('@')
            && matches!(uri.path(), "" | "/")
            && uri.query().is_none();
        if plain {
            Ok(text.to_owned())
        } else {
            Err(refused())
        }
    }

    fn database_url(&self) -> Result<Option<SecretString>, ConfigError> {
        let key = "database_url";
        match self.optional(key) {
            None => Ok(None),
            Some(url) if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
                Ok(Some(url.into()))
            }
            Some(_) => Err(self.refused(
                key,
                "must begin with postgres://; leave it unset for SQLite in data_dir",
            )),
        }
    }

    fn redis_url(&self) -> Result<Option<RedisUrl>, ConfigError> {
        let key = "redis_url";
        let url = self.optional(key).map(str::parse).transpose();
        url.map_err(|_: RedisUrlError| {
            self.refused(
                key,
                "must be like redis://user:password@host:6379/0, or rediss:// for TLS",
            )
        })
    }

    fn smtp(&self) -> Result<Option<SmtpServer>, ConfigError> {
        let key = "smtp_url";
        self.optional(key)
            .map(|url| SmtpServer::parse(url).map_err(|message| self.refused(key, message)))
            .transpose()
    }

    fn mail_from(&self) -> Result<Mailbox, ConfigError> {
        let key = "mail_from";
        if self.optional(key).is_some() {
            let expected = "must be an address such as terse@sho.rt or Links <terse@sho.rt>";
            return self.parse(key, expected);
        }
        let uri: Option<http::Uri> = self.public_url()?.parse().ok();
        let host = uri
            .as_ref()
            .and_then(http::Uri::host)
            .unwrap_or("localhost");
        // Addresses in place of names stand in brackets.
        let address = match host.parse::<std::net::Ipv4Addr>() {
            Ok(address) => format!("terse@[{address}]"),
            Err(_) => format!("terse@{}", host.to_ascii_lowercase()),
        };
        let address = address
            .parse()
            .map_err(|_| self.refused(key, "must be set where public_url has no name"))?;
        Ok(Mailbox::new(None, address))
    }

    fn trusted_proxies(&self) -> Result<TrustedProxies, ConfigError> {
        let key = "trusted_proxies";
        let networks = self
            .text(key)
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(|text| {
                text.parse()
                    .or_else(|_| text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from))
                    .map_err(|_| {
                        self.refused(key, "must list networks such as 10.0.0.0/8 or ::1/128")
                    })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(TrustedProxies::new(networks))
    }

    fn shown(&self) -> Vec<Shown> {
        KEYS.into_iter()
            .filter_map(|(key, _)| {
                let found = self.0.get(key)?;
                let value = if found.text.is_empty() {
                    "(unset)".to_owned()
                } else if SECRETS.contains(&key) {
                    "(hidden)".to_owned()
                } else {
                    found.text.clone()
                };
                Some(Shown {
                    key,
                    value,
                    source: found.source.clone(),
                })
            })
            .collect()
    }
}
