//! Finding the value of each setting, and where it was set.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Value};
use figment::{Figment, Profile};

use super::ConfigError;
use crate::args::Flags;

const PREFIX: &str = "TERSE_";

/// Every key with its default; an empty text stands for unset.
pub(super) const KEYS: [(&str, &str); 26] = [
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

pub(super) const SECRETS: [&str; 5] = [
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

pub(super) struct Found {
    pub(super) text: String,
    pub(super) source: String,
    /// The name under which a person knows the setting at its source.
    pub(super) name: String,
}

/// The value of every key, and where it was set.
pub(super) fn found(sources: &Sources) -> Result<BTreeMap<&'static str, Found>, ConfigError> {
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
    Ok(found)
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
