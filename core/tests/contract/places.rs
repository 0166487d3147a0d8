use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use terse_core::Resolution;
use terse_core::classify::RequestFacts;
use terse_core::model::{Fact, NewLink, Timestamp};
use terse_core::place::{Place, PlaceFileStatus};

use crate::fixture::{HOST, Installation, on_both_databases, person};
use crate::mmdb::Value::{List, Map, Number, Text};
use crate::mmdb::{Value, geoip2, mmdb};

on_both_databases![
    places_are_found_in_every_form_of_file,
    a_place_that_was_told_is_believed_before_the_file,
    a_file_is_read_again_when_it_changes_and_kept_while_it_is_damaged,
    without_a_usable_file_clicks_are_counted_without_a_place,
    a_qr_code_is_noticed_and_its_mark_goes_no_further,
];

type Names = [&'static str; 3];
const NOWHERE: Names = ["", "", ""];
const LONDON: Names = ["GB", "GB-ENG", "London"];

/// Follows a link as somebody at this address, by a name to find the click again.
async fn click(t: &Installation, name: &str, address: &str, told: Place<'_>) {
    let query = format!("utm_content={name}");
    let facts = RequestFacts {
        client: address.parse().unwrap(),
        query: Some(&query),
        place: told,
        ..person()
    };
    let answer = t.terse.resolve(HOST, "/here", &facts).await.unwrap();
    assert!(matches!(answer, Resolution::Redirect(_)), "{answer:?}");
}

/// Country, region and city of every click, by its name.
async fn places(t: &Installation) -> HashMap<String, [String; 3]> {
    t.folded().await;
    let clicks = t.clicks().await;
    let named = clicks.iter().map(|click| {
        let facts = [Fact::Country, Fact::Region, Fact::City];
        let place = facts.map(|fact| click.fact(fact).to_owned());
        (click.fact(Fact::UtmContent).to_owned(), place)
    });
    named.collect()
}

/// A network, its record, an address in it, and where that is.
type Case = (&'static str, Value, &'static str, Names);

fn flat(members: &[(&'static str, &'static str)]) -> Value {
    Map(members
        .iter()
        .map(|(key, text)| (*key, Text(text)))
        .collect())
}

fn nested() -> Vec<Case> {
    let london = geoip2("GB", "ENG", "London");
    let paris = geoip2("FR", "75", "Paris");
    let code = |code| Map(vec![("iso_code", Text(code))]);
    let named = |name| Map(vec![("names", Map(vec![("en", Text(name))]))]);
    let db_ip = Map(vec![
        ("city", named("Berlin")),
        ("country", code("DE")),
        ("location", Map(vec![("latitude", Number(52))])),
        // Its regions have no codes.
        ("subdivisions", List(vec![named("Land Berlin")])),
    ]);
    let country_only = Map(vec![("country", code("DE"))]);
    vec![
        ("81.2.69.0/24", london.clone(), "81.2.69.142", LONDON),
        ("81.2.70.0/24", london, "::ffff:81.2.70.1", LONDON),
        (
            "2a02:ff40::/32",
            paris,
            "2a02:ff40::1",
            ["FR", "FR-75", "Paris"],
        ),
        ("81.2.71.0/24", country_only, "81.2.71.9", ["DE", "", ""]),
        ("81.2.72.0/24", db_ip, "81.2.72.1", ["DE", "", "Berlin"]),
    ]
}

fn flat_ones() -> Vec<Case> {
    let of_whois = flat(&[("country_code", "NL")]);
    let of_ipinfo = flat(&[("country", "Austria"), ("country_code", "AT")]);
    let zug = [
        ("country", "CH"),
        ("region", "Zug"),
        ("region_code", "ZG"),
        ("city", "Zug"),
    ];
    vec![
        ("81.2.73.0/24", of_whois, "81.2.73.1", ["NL", "", ""]),
        ("81.2.74.0/24", of_ipinfo, "81.2.74.1", ["AT", "", ""]),
        (
            "81.2.75.0/24",
            flat(&zug),
            "81.2.75.1",
            ["CH", "CH-ZG", "Zug"],
        ),
    ]
}

/// Records without a country, and addresses that are nowhere whatever a file claims.
fn nowhere() -> Vec<Case> {
    let london = || geoip2("GB", "ENG", "London");
    vec![
        (
            "81.2.76.0/24",
            flat(&[("country_code", "de")]),
            "81.2.76.1",
            NOWHERE,
        ),
        (
            "81.2.77.0/24",
            Map(vec![("country", Number(4))]),
            "81.2.77.1",
            NOWHERE,
        ),
        (
            "81.2.78.0/24",
            flat(&[("asn", "AS64500")]),
            "81.2.78.1",
            NOWHERE,
        ),
        ("81.2.79.0/24", london(), "81.2.80.1", NOWHERE),
        ("10.0.0.0/8", london(), "10.1.2.3", NOWHERE),
        ("192.168.0.0/16", london(), "192.168.1.1", NOWHERE),
        ("100.64.0.0/10", london(), "100.127.0.1", NOWHERE),
        ("127.0.0.0/8", london(), "127.0.0.1", NOWHERE),
        ("fc00::/7", london(), "fd00::1", NOWHERE),
        ("fe80::/10", london(), "fe80::1", NOWHERE),
    ]
}

async fn places_are_found_in_every_form_of_file(t: Installation) {
    let file = t.dir.path().join("places.mmdb");
    let files = [nested(), flat_ones(), nowhere()].concat();
    let networks: Vec<_> = files
        .iter()
        .map(|(network, record, ..)| (*network, record.clone()))
        .collect();
    fs::write(&file, mmdb(&networks)).unwrap();
    let t = t.with_places(&file).await;
    t.link("here").await;
    for (_, _, address, _) in &files {
        click(&t, &address.replace(':', "-"), address, Place::UNKNOWN).await;
    }
    let found = places(&t).await;
    assert_eq!(found.len(), files.len());
    for (_, _, address, expected) in &files {
        assert_eq!(found[&address.replace(':', "-")], *expected, "{address}");
    }
    let built_at = Some(Timestamp::from_millis(1_767_225_600_000));
    let status = PlaceFileStatus {
        built_at,
        failing: false,
    };
    assert_eq!(t.terse.status().place_file, Some(status));
}

async fn a_place_that_was_told_is_believed_before_the_file(t: Installation) {
    let file = london(&t, "places.mmdb");
    let t = t.with_places(&file).await;
    t.link("here").await;
    for (name, told, address) in [
        ("other", Place::new("FR", "75", "Paris"), "81.2.69.1"),
        ("other-country", Place::new("FR", "", ""), "81.2.69.1"),
        ("same-country", Place::new("GB", "", ""), "81.2.69.1"),
        ("unknown", Place::new("XX", "", "Nowhere"), "81.2.69.1"),
        ("not-in-file", Place::new("FR", "", "Paris"), "8.8.8.8"),
        ("private", Place::new("FR", "", "Paris"), "10.0.0.1"),
    ] {
        click(&t, name, address, told).await;
    }
    let found = places(&t).await;
    assert_eq!(found["other"], ["FR", "FR-75", "Paris"]);
    assert_eq!(found["other-country"], ["FR", "", ""]);
    assert_eq!(found["same-country"], LONDON);
    assert_eq!(found["unknown"], LONDON);
    assert_eq!(found["not-in-file"], ["FR", "", "Paris"]);
    assert_eq!(found["private"], ["FR", "", "Paris"]);
}

fn london(t: &Installation, name: &str) -> PathBuf {
    let file = t.dir.path().join(name);
    fs::write(
        &file,
        mmdb(&[("81.2.69.0/24", geoip2("GB", "ENG", "London"))]),
    )
    .unwrap();
    file
}

/// Puts another file in place of this one, as operators do.
fn replace(file: &Path, bytes: &[u8]) {
    let fresh = file.with_extension("new");
    fs::write(&fresh, bytes).unwrap();
    fs::rename(fresh, file).unwrap();
}

async fn until_the_file_fails(t: &Installation, failing: bool) {
    let noticed = async {
        while t.terse.status().place_file.unwrap().failing != failing {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), noticed).await;
    waited.expect("the file is looked at every few seconds");
}

async fn a_file_is_read_again_when_it_changes_and_kept_while_it_is_damaged(t: Installation) {
    let file = london(&t, "places.mmdb");
    let whole = fs::read(&file).unwrap();
    let t = t.with_places(&file).await;
    t.link("here").await;
    click(&t, "first", "81.2.69.1", Place::UNKNOWN).await;
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    until_the_file_fails(&t, true).await;
    click(&t, "truncated", "81.2.69.1", Place::UNKNOWN).await;
    replace(
        &file,
        &mmdb(&[("81.2.69.0/24", geoip2("FR", "75", "Paris"))]),
    );
    until_the_file_fails(&t, false).await;
    click(&t, "replaced", "81.2.69.1", Place::UNKNOWN).await;
    fs::remove_file(&file).unwrap();
    until_the_file_fails(&t, true).await;
    click(&t, "missing", "81.2.69.1", Place::UNKNOWN).await;
    let found = places(&t).await;
    assert_eq!(found["first"], LONDON);
    assert_eq!(found["truncated"], LONDON);
    assert_eq!(found["replaced"], ["FR", "FR-75", "Paris"]);
    assert_eq!(found["missing"], ["FR", "FR-75", "Paris"]);
}

async fn without_a_usable_file_clicks_are_counted_without_a_place(t: Installation) {
    let file = london(&t, "places.mmdb");
    let whole = fs::read(&file).unwrap();
    let asn = mmdb(&[("81.2.69.0/24", Map(vec![("asn", Text("AS64500"))]))]);
    let link = t.link("here").await;
    let mut t = t;
    for (name, bytes) in [
        ("empty", &[][..]),
        ("truncated", &whole[..whole.len() - 10]),
        ("nonsense", &b"nonsense".repeat(1_000)),
        ("other-facts", &asn),
    ] {
        replace(&file, bytes);
        t = t.with_places(&file).await;
        click(&t, name, "81.2.69.1", Place::UNKNOWN).await;
        let status = t.terse.status().place_file.unwrap();
        assert!(status.failing && status.built_at.is_none(), "{name}");
    }
    fs::remove_file(&file).unwrap();
    t = t.with_places(&file).await;
    click(&t, "missing", "81.2.69.1", Place::UNKNOWN).await;
    let found = places(&t).await;
    assert_eq!(found.len(), 5);
    assert!(found.values().all(|place| *place == NOWHERE), "{found:?}");
    let read = t.terse.links().get(&t.workspace, link.id).await.unwrap();
    assert_eq!(read.clicks, 5);
    replace(&file, &whole);
    until_the_file_fails(&t, false).await;
    click(&t, "there", "81.2.69.1", Place::UNKNOWN).await;
    assert_eq!(places(&t).await["there"], LONDON);
}

async fn a_qr_code_is_noticed_and_its_mark_goes_no_further(t: Installation) {
    t.link("here").await;
    t.create(NewLink::to("https://example.com/?qr=own").alias("own"))
        .await;
    for (path, query, location) in [
        ("/here", "qr=1", "https://example.com/target"),
        (
            "/here",
            "a=%20b&qr=1&c",
            "https://example.com/target?a=%20b&c",
        ),
        ("/here", "qr=2&qr", "https://example.com/target?qr=2&qr"),
        ("/own", "qr=1", "https://example.com/?qr=own"),
    ] {
        let facts = RequestFacts {
            query: Some(query),
            ..person()
        };
        let answer = t.terse.resolve(HOST, path, &facts).await.unwrap();
        let Resolution::Redirect(redirect) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(redirect.location, location, "{query}");
    }
    t.folded().await;
    let clicks = t.clicks().await;
    let of_codes = clicks
        .iter()
        .filter(|click| click.fact(Fact::Trigger) == "qr");
    assert_eq!((clicks.len(), of_codes.count()), (4, 3));
}
