//! Finding the value of each setting, and where it was set.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Value};
use figment::{Figment, Profile};
use lettre::message::Mailbox;
use secrecy::SecretString;
use terse_core::shared::{RedisUrl, RedisUrlError};

use super::{
    ClickDurability, Config, ConfigError, LogFormat, OnUnrecordable, Registration, Shown,
    VisitorEpoch, parse_duration, parse_size,
};
use crate::args::Flags;
use crate::client_address::TrustedProxies;
use crate::mailer::SmtpServer;

const PREFIX: &str = "TERSE_";

/// Every key with its default; an empty text stands for unset.
const KEYS: [(&str, &str); 26] = [
    ("listen", "127.0.0.1:8080"),
    ("public_url", "http://localhost:8080"),
    ("data_dir", "./terse-data"),
    ("database_url", ""),
    ("redis_url", ""),
    ("admin_email", ""),
    ("admin_password", ""),
    ("jwt_secret", ""),
    ("smtp_url", ""),
    ("mail_from", ""),
    ("registration", "closed"),
    ("trusted_proxies", ""),
    ("geoip_db", ""),
    ("cors_origins", ""),
    ("click_durability", "process"),
    ("on_unrecordable", "serve"),
    ("spool_retain", "1h"),
    ("spool_max_bytes", "2GiB"),
    ("visitor_epoch", "month"),
    ("slug_length", "7"),
    ("rate_limit_redirect", "200/s"),
    ("rate_limit_api", "50/s"),
    ("rate_limit_auth", "10/m"),
    ("max_connections", "10000"),
    ("log", "info"),
    ("log_format", "text"),
];

const SECRETS: [&str; 5] = [
    "database_url",
    "redis_url",
    "admin_password",
    "jwt_secret",
    "smtp_url",
];

/// Variables of the command line client, which may be set beside ours.
const FOREIGN: [&str; 2] = ["TERSE_URL", "TERSE_API_KEY"];

/// What tests do to a server that was built for them; refused like any other name by a release.
const OF_TESTS: &[&str] = if cfg!(debug_assertions) {
    &["TERSE_FAILPOINT", "TERSE_TEST_SEALING"]
} else {
    &[]
};

/// Where settings come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The settings file, and whether it has to exist.
    pub file: Option<(PathBuf, bool)>,
    /// The environment.
    pub variables: BTreeMap<String, String>,
    /// The command line.
    pub flags: Flags,
}

impl Sources {
    /// The sources of this process.
    pub fn of_process(flags: Flags) -> Self {
        let file = match &flags.config {
            Some(path) => (path.clone(), true),
            None => (PathBuf::from("terse.toml"), false),
        };
        Self {
            file: Some(file),
            variables: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .filter(|(name, _)| name.starts_with(PREFIX))
                .collect(),
            flags,
        }
    }
}

/// Reads the settings, or says which of them cannot be used.
pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
    Values::read(sources)?.config()
}

struct Found {
    text: String,
    source: String,
    /// The name under which a person knows the setting at its source.
    name: String,
}

struct Values(BTreeMap<&'static str, Found>);

impl Values {
    fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let defaults: BTreeMap<&str, &str> = KEYS.into_iter().collect();
        let mut figment = Figment::from(Serialized::defaults(defaults));
        if let Some((path, required)) = &sources.file {
            if path.exists() {
                figment = figment.merge(file(path)?);
            } else if *required {
                let message = "there is no such file";
                return Err(ConfigError::new(path.display().to_string(), message));
            }
        }
        for (key, text) in variables(&sources.variables)? {
            figment = figment.merge(Layer::new(key, text.0, text.1));
        }
        for (key, flag, text) in flags(&sources.flags) {
            figment = figment.merge(Layer::new(key, text, flag));
        }
        let mut found = BTreeMap::new();
        for (key, _) in KEYS {
            found.insert(key, find(&figment, key)?);
        }
        Ok(Self(found))
    }

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

/// One value of one source.
struct Layer {
    key: &'static str,
    text: String,
    name: String,
}

impl Layer {
    fn new(key: &'static str, text: String, name: String) -> Self {
        Self { key, text, name }
    }
}

impl figment::Provider for Layer {
    fn metadata(&self) -> figment::Metadata {
        figment::Metadata::named(self.name.clone())
    }

    fn data(&self) -> figment::Result<BTreeMap<Profile, Dict>> {
        let dict = Dict::from([(self.key.to_owned(), Value::from(self.text.clone()))]);
        Ok(BTreeMap::from([(Profile::Default, dict)]))
    }
}

fn file(path: &Path) -> Result<Figment, ConfigError> {
    let name = path.display().to_string();
    let figment = Figment::from(Toml::file_exact(path));
    let dict: Dict = figment
        .extract()
        .map_err(|error| ConfigError::new(name.clone(), one_line(&error.to_string())))?;
    for key in dict.keys() {
        if !KEYS.iter().any(|(known, _)| known == key) {
            let message = format!("has a key that is not known: {key}");
            return Err(ConfigError::new(name, message));
        }
        if SECRETS.contains(&key.as_str()) {
            refuse_if_readable_by_others(path)
                .map_err(|message| ConfigError::new(format!("{key} in {name}"), message))?;
        }
    }
    Ok(figment)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A key, its text, and the name of the variable that sets it.
type Set = (&'static str, (String, String));

/// The values of our variables, by key: the text, and the name of the variable.
fn variables(all: &BTreeMap<String, String>) -> Result<Vec<Set>, ConfigError> {
    let mut values = Vec::new();
    for (name, text) in all {
        let Some(rest) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let lower = rest.to_ascii_lowercase();
        let exact = KEYS.into_iter().find(|(key, _)| *key == lower);
        let from_file = SECRETS
            .into_iter()
            .find(|key| lower.strip_suffix("_file") == Some(key));
        if let Some((key, _)) = exact {
            values.push((key, (text.clone(), name.clone())));
        } else if let Some(key) = from_file {
            if all.contains_key(name.trim_end_matches("_FILE")) {
                return Err(ConfigError::new(
                    name,
                    "is set beside the variable without _FILE",
                ));
            }
            values.push((key, (secret_file(name, Path::new(text))?, name.clone())));
        } else if !FOREIGN.contains(&name.as_str()) && !OF_TESTS.contains(&name.as_str()) {
            return Err(ConfigError::new(name, "is not a known setting"));
        }
    }
    Ok(values)
}

fn secret_file(name: &str, path: &Path) -> Result<String, ConfigError> {
    refuse_if_readable_by_others(path).map_err(|message| ConfigError::new(name, message))?;
    let text = fs::read_to_string(path).map_err(|error| {
        ConfigError::new(name, format!("cannot read {}: {error}", path.display()))
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Says what is wrong with a file of secrets that others than its owner may read.
pub(crate) fn refuse_if_readable_by_others(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let metadata = fs::metadata(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    if metadata.permissions().mode().trailing_zeros() >= 6 {
        Ok(())
    } else {
        Err(format!(
            "{shown} can be read by others; run: chmod 600 {shown}"
        ))
    }
}

fn flags(flags: &Flags) -> Vec<(&'static str, String, String)> {
    [
        ("listen", "--listen", &flags.listen),
        ("public_url", "--public-url", &flags.public_url),
        ("data_dir", "--data-dir", &flags.data_dir),
        ("log", "--log", &flags.log),
        ("log_format", "--log-format", &flags.log_format),
    ]
    .into_iter()
    .filter_map(|(key, flag, text)| Some((key, flag.to_owned(), text.clone()?)))
    .collect()
}

fn find(figment: &Figment, key: &'static str) -> Result<Found, ConfigError> {
    let value: Value = figment
        .find_value(key)
        .map_err(|error| ConfigError::new(key, one_line(&error.to_string())))?;
    let metadata = figment.get_metadata(value.tag());
    let source = metadata.map_or_else(|| "default".to_owned(), source_of);
    let named = source.starts_with(PREFIX) || source.starts_with("--");
    let name = if named {
        source.clone()
    } else {
        key.to_owned()
    };
    let text = scalar(&value)
        .ok_or_else(|| ConfigError::new(key, "must be a text, a number or a list of texts"))?;
    Ok(Found { text, source, name })
}

fn source_of(metadata: &figment::Metadata) -> String {
    match &metadata.source {
        Some(figment::Source::File(path)) => path.display().to_string(),
        _ if metadata.name.starts_with(PREFIX) || metadata.name.starts_with("--") => {
            metadata.name.to_string()
        }
        _ => "default".to_owned(),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Bool(_, flag) => Some(flag.to_string()),
        Value::Num(_, number) => number
            .to_i128()
            .map(|n| n.to_string())
            .or_else(|| number.to_u128().map(|n| n.to_string())),
        Value::Array(_, items) => {
            let items: Option<Vec<String>> = items.iter().map(scalar).collect();
            items.map(|items| items.join(","))
        }
        _ => None,
    }
}
