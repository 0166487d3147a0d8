//! Settings: where they come from, and what is said about those that cannot be used.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use terse_server::args::Flags;
use terse_server::config::{
    ClickDurability, Config, LogFormat, MANUAL, OnUnrecordable, Registration, Sources,
    VisitorEpoch, load,
};

fn with_variables(variables: &[(&str, &str)]) -> Result<Config, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let sources = Sources {
        variables: variables.iter().map(owned).collect(),
        ..Sources::default()
    };
    load(&sources).map_err(|error| error.to_string())
}

fn with_file(text: &str, mode: u32) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("terse.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    let sources = Sources {
        file: Some((path, true)),
        ..Sources::default()
    };
    load(&sources).map_err(|error| error.to_string())
}

/// The manual with every key put in force.
fn manual_in_force() -> String {
    let lines = MANUAL.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn without_anything_the_defaults_are_in_force() {
    let config = with_variables(&[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.public_url, "http://localhost:8080");
    assert_eq!(config.spool_retain, Duration::from_hours(1));
    assert_eq!(config.spool_max_bytes, 2 << 30);
    assert_eq!(config.click_durability, ClickDurability::Process);
    assert_eq!(config.on_unrecordable, OnUnrecordable::Serve);
    assert_eq!(config.visitor_epoch, VisitorEpoch::Month);
    assert_eq!(config.log_format, LogFormat::Text);
    assert_eq!(config.slug_length, 7);
    assert_eq!(config.rate_limit_redirect.to_string(), "200/s");
    assert_eq!(config.registration, Registration::Closed);
    assert_eq!(config.mail_from.to_string(), "terse@localhost");
    assert!(config.smtp.is_none());
    assert!(config.database_url.is_none() && config.jwt_secret.is_none());
    assert!(config.shown.iter().all(|shown| shown.source == "default"));
}

#[test]
fn the_manual_names_every_key_with_its_default() {
    let manual = manual_in_force();
    let defaults = with_variables(&[]).unwrap();
    for shown in &defaults.shown {
        let line = manual
            .lines()
            .find(|line| line.starts_with(&format!("{} = ", shown.key)))
            .unwrap_or_else(|| panic!("{} is not in the manual", shown.key));
        let value = line
            .split_once(" = ")
            .unwrap()
            .1
            .trim_matches(['"', '[', ']']);
        if shown.key != "admin_email" {
            let default = if shown.value == "(unset)" {
                ""
            } else {
                &shown.value
            };
            assert_eq!(value, default, "{}", shown.key);
        }
    }
}

#[test]
fn variables_win_over_the_file_and_flags_over_both() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("terse.toml");
    fs::write(&path, "listen = \"127.0.0.1:1\"\nslug_length = 9\nlog = \"warn\"\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n").unwrap();
    let sources = Sources {
        file: Some((path.clone(), true)),
        variables: [
            ("TERSE_LISTEN", "127.0.0.1:2"),
            ("TERSE_LOG", "debug"),
            ("TERSE_URL", "https://elsewhere.example"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        flags: Flags {
            listen: Some("127.0.0.1:3".to_owned()),
            ..Flags::default()
        },
    };
    let config = load(&sources).unwrap();
    assert_eq!(config.listen.port(), 3);
    assert_eq!((config.log.as_str(), config.slug_length), ("debug", 9));
    let source = |key: &str| {
        let found = config.shown.iter().find(|shown| shown.key == key);
        found.unwrap().source.clone()
    };
    assert_eq!(source("listen"), "--listen");
    assert_eq!(source("log"), "TERSE_LOG");
    assert!(source("slug_length").ends_with("terse.toml"));
    assert_eq!(source("public_url"), "default");
}

#[test]
fn a_value_that_cannot_be_used_is_named_with_what_would_be_right() {
    for (name, value, expected) in [
        ("TERSE_LISTEN", "8080", "127.0.0.1:8080"),
        ("TERSE_PUBLIC_URL", "sho.rt", "https://sho.rt"),
        ("TERSE_PUBLIC_URL", "https://sho.rt/path", "without a path"),
        ("TERSE_PUBLIC_URL", "https://user@sho.rt", "https://sho.rt"),
        ("TERSE_DATABASE_URL", "mysql://x", "postgres://"),
        ("TERSE_REDIS_URL", "http://x", "rediss://"),
        ("TERSE_CLICK_DURABILITY", "memory", "lose"),
        ("TERSE_CLICK_DURABILITY", "disk", "process or power"),
        ("TERSE_ON_UNRECORDABLE", "panic", "serve or refuse"),
        ("TERSE_SPOOL_RETAIN", "1", "1h"),
        ("TERSE_SPOOL_MAX_BYTES", "much", "2GiB"),
        ("TERSE_VISITOR_EPOCH", "year", "month or day"),
        ("TERSE_SLUG_LENGTH", "3", "4 to 32"),
        ("TERSE_RATE_LIMIT_API", "50", "200/s"),
        ("TERSE_SMTP_URL", "mail.example", "smtps://user:password@"),
        (
            "TERSE_SMTP_URL",
            "smtp://u:p@mail.example?tls=none",
            "unencrypted",
        ),
        ("TERSE_MAIL_FROM", "links", "terse@sho.rt"),
        ("TERSE_REGISTRATION", "all", "open or invite or closed"),
        ("TERSE_TRUSTED_PROXIES", "10.0.0.0/8, proxy", "10.0.0.0/8"),
        ("TERSE_LOG_FORMAT", "xml", "text or json"),
        ("TERSE_DATA_DIR", "", "empty"),
        ("TERSE_LISTNE", "127.0.0.1:8080", "not a known setting"),
        ("TERSE_LISTEN_FILE", "/tmp/x", "not a known setting"),
    ] {
        let error = with_variables(&[(name, value)]).unwrap_err();
        assert!(error.starts_with(name), "{error}");
        assert!(error.contains(expected), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_key_of_the_file_that_is_not_known_is_refused() {
    let error = with_file("lisen = \"127.0.0.1:8080\"\n", 0o644).unwrap_err();
    assert!(error.contains("lisen"), "{error}");
    let error = with_file("listen = \n", 0o644).unwrap_err();
    assert_eq!(error.lines().count(), 1, "{error}");
    let missing = Sources {
        file: Some(("/does/not/exist.toml".into(), true)),
        ..Sources::default()
    };
    assert!(load(&missing).is_err());
}

#[test]
fn numbers_may_be_written_as_numbers_and_texts_that_look_like_numbers_stay_texts() {
    let config = with_file("spool_max_bytes = 4096\nmax_connections = 50\n", 0o644).unwrap();
    assert_eq!((config.spool_max_bytes, config.max_connections), (4096, 50));
    let config = with_variables(&[("TERSE_ADMIN_PASSWORD", "0012345678")]).unwrap();
    assert_eq!(config.admin_password.unwrap().expose_secret(), "0012345678");
}

#[test]
fn secrets_come_from_files_that_nobody_else_can_read_and_are_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    fs::write(&path, "a secret from a file\n").unwrap();
    let named = path.to_str().unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let error = with_variables(&[("TERSE_JWT_SECRET_FILE", named)]).unwrap_err();
    assert!(
        error.starts_with("TERSE_JWT_SECRET_FILE") && error.contains("chmod 600"),
        "{error}"
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let config = with_variables(&[("TERSE_JWT_SECRET_FILE", named)]).unwrap();
    assert_eq!(
        config.jwt_secret.as_ref().unwrap().expose_secret(),
        "a secret from a file"
    );
    assert!(!format!("{config:?}").contains("a secret"));
    assert!(
        config
            .shown
            .iter()
            .any(|shown| shown.key == "jwt_secret" && shown.value == "(hidden)")
    );
    let both = [
        ("TERSE_JWT_SECRET_FILE", named),
        ("TERSE_JWT_SECRET", "other"),
    ];
    assert!(with_variables(&both).is_err());
    let text = "admin_password = \"correct horse battery\"\n";
    assert!(with_file(text, 0o644).unwrap_err().contains("chmod 600"));
    assert!(with_file(text, 0o600).is_ok());
}

#[test]
fn places_are_looked_up_in_a_file_only_when_one_is_named() {
    assert_eq!(with_variables(&[]).unwrap().geoip_db, None);
    let config = with_variables(&[("TERSE_GEOIP_DB", "/var/lib/geo/city.mmdb")]).unwrap();
    assert_eq!(config.geoip_db, Some("/var/lib/geo/city.mmdb".into()));
}

#[test]
fn mails_come_from_the_host_that_people_know_unless_another_address_is_set() {
    for (public_url, from) in [
        ("https://Go.Example:8443", "terse@go.example"),
        ("http://192.0.2.1:8080", "terse@[192.0.2.1]"),
        ("http://[2001:db8::1]", "terse@[2001:db8::1]"),
    ] {
        let config = with_variables(&[("TERSE_PUBLIC_URL", public_url)]).unwrap();
        assert_eq!(config.mail_from.to_string(), from);
    }
    for (set, from) in [
        ("links@sho.rt", "links@sho.rt"),
        ("Our Links <links@sho.rt>", "Our Links <links@sho.rt>"),
    ] {
        let config = with_variables(&[("TERSE_MAIL_FROM", set)]).unwrap();
        assert_eq!(config.mail_from.to_string(), from);
    }
}

#[test]
fn the_password_of_the_mail_server_is_never_shown_and_may_come_from_a_file() {
    let url = "smtps://terse:hunter2@mail.example";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("smtp");
    fs::write(&path, url).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    for variable in [
        ("TERSE_SMTP_URL", url),
        ("TERSE_SMTP_URL_FILE", path.to_str().unwrap()),
    ] {
        let config = with_variables(&[variable]).unwrap();
        assert_eq!(config.smtp.as_ref().unwrap().host, "mail.example");
        assert!(!format!("{config:?}").contains("hunter2"));
    }
    let error = with_variables(&[("TERSE_SMTP_URL", "smtps://terse:hunter2@mail.example/x")]);
    assert!(!error.unwrap_err().contains("hunter2"));
}
