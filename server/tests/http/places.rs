//! Where visitors are: by a file, by the headers of trusted proxies, and never by anybody else's word.

use std::collections::BTreeMap;
use std::fs;

use reqwest::Method;
use secrecy::SecretString;
use serde_json::json;
use terse_core::Terse;
use terse_core::analytics::{AnalyticsQuery, ClicksPage};
use terse_core::model::{Fact, Origin};

use crate::mmdb::{geoip2, mmdb};
use crate::server::{EMAIL, ON_SQLITE, PASSWORD, Server, until};

type Facts = BTreeMap<String, [String; 4]>;

/// Follows `/here` with these headers, by a name to find the click again.
fn click(server: &Server, name: &str, headers: &[(&str, &[u8])]) -> String {
    let request = server
        .visitor()
        .request(Method::GET, &format!("/here?utm_content={name}&qr=1"));
    let mut request = request.build().unwrap();
    for (header, value) in headers {
        let header: reqwest::header::HeaderName = header.parse().unwrap();
        let value = reqwest::header::HeaderValue::from_bytes(value).unwrap();
        request.headers_mut().insert(header, value);
    }
    let client = reqwest::blocking::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap();
    let answer = client.execute(request).unwrap();
    assert_eq!(answer.status(), 302);
    answer.headers()["location"].to_str().unwrap().to_owned()
}

/// Country, region, city and trigger of every click by its name, once the server has stopped.
fn facts(mut server: Server) -> Facts {
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let terse = Terse::builder()
            .sqlite(server.data().join("terse.db"))
            .spool_dir(server.data().join("spool"))
            .public_url("http://localhost")
            .open()
            .await
            .unwrap();
        let accounts = terse.accounts();
        let password = SecretString::from(PASSWORD);
        let grant = accounts
            .sign_in(EMAIL, &password, &Origin::default())
            .await
            .unwrap();
        let identity = accounts
            .authenticate(grant.session, grant.user, None)
            .await
            .unwrap();
        let analytics = terse.analytics();
        let (query, page) = (AnalyticsQuery::default(), ClicksPage::default());
        let clicks = analytics
            .clicks(&identity.workspace, query, page)
            .await
            .unwrap();
        let named = clicks.items.iter().map(|click| {
            let facts = [Fact::Country, Fact::Region, Fact::City, Fact::Trigger];
            (
                click.fact(Fact::UtmContent).to_owned(),
                facts.map(|fact| click.fact(fact).to_owned()),
            )
        });
        let named = named.collect();
        terse.close().await;
        named
    })
}

const TOLD: [(&str, &[u8]); 3] = [
    ("cf-ipcountry", b"DE"),
    ("cf-region-code", b"BE"),
    ("cf-ipcity", b"Berlin"),
];
const LONDONER: (&str, &[u8]) = ("x-forwarded-for", b"81.2.69.142");

#[test]
fn a_direct_client_cannot_say_where_it_is() {
    let server = Server::start(&[ON_SQLITE]);
    server.link("here", &json!({}));
    for (number, (header, value)) in [
        ("cf-ipcountry", "DE"),
        ("x-vercel-ip-country", "DE"),
        ("cloudfront-viewer-country", "DE"),
        ("x-country-code", "DE"),
    ]
    .into_iter()
    .enumerate()
    {
        click(&server, &number.to_string(), &[(header, value.as_bytes())]);
    }
    let facts = facts(server);
    assert_eq!(facts.len(), 4);
    for place in facts.values() {
        assert_eq!(place[..3], ["", "", ""]);
    }
}

#[test]
fn a_trusted_proxy_says_where_its_clients_are() {
    let server = Server::start(&[ON_SQLITE, ("TERSE_TRUSTED_PROXIES", "127.0.0.0/8")]);
    server.link("here", &json!({}));
    assert_eq!(
        click(&server, "told", &TOLD),
        "https://example.com/?utm_content=told"
    );
    click(
        &server,
        "latin",
        &[("cf-ipcountry", b"BR"), ("cf-ipcity", b"S\xe3o Paulo")],
    );
    let long = [b'x'; 400];
    click(
        &server,
        "long",
        &[("cf-ipcountry", b"BR"), ("cf-ipcity", &long)],
    );
    click(
        &server,
        "control",
        &[
            ("x-vercel-ip-country", b"BR"),
            ("x-vercel-ip-city", b"S%C3%A3o%0d%0a%00%20Paulo"),
        ],
    );
    for country in [&b"XX"[..], b"T1", b"de", b"", b"\xff\xff"] {
        let name = format!("none-{}", country.escape_ascii());
        click(
            &server,
            &name.replace('\\', "-"),
            &[("cf-ipcountry", country)],
        );
    }
    let facts = facts(server);
    assert_eq!(facts["told"], ["DE", "DE-BE", "Berlin", "qr"]);
    assert_eq!(facts["latin"][2], "S\u{e3}o Paulo");
    assert_eq!(facts["long"][2], "x".repeat(255));
    assert_eq!(facts["control"][2], "S\u{e3}o Paulo");
    let none = facts.iter().filter(|(name, _)| name.starts_with("none-"));
    assert_eq!(none.clone().count(), 5);
    assert!(none.clone().all(|(_, place)| place[0].is_empty()));
}

#[test]
fn a_file_says_where_addresses_are_and_may_be_replaced_or_damaged_at_any_time() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("city.mmdb");
    let london = mmdb(&[("81.2.69.0/24", geoip2("GB", "ENG", "London"))]);
    fs::write(&file, &london).unwrap();
    let server = Server::start(&[
        ON_SQLITE,
        ("TERSE_TRUSTED_PROXIES", "127.0.0.0/8"),
        ("TERSE_GEOIP_DB", file.to_str().unwrap()),
    ]);
    let link = server.link("here", &json!({}));
    let until_failing = |failing: u8| {
        let line = format!("terse_geoip_failing {failing}");
        until(&line, || {
            let page = server.visitor().get("/metrics").text();
            page.lines().any(|other| other == line).then_some(page)
        })
    };
    assert!(until_failing(0).contains("\nterse_geoip_age_seconds "));
    click(&server, "file", &[LONDONER]);
    click(&server, "told", &[LONDONER, TOLD[0]]);
    fs::write(&file, &london[..100]).unwrap();
    until_failing(1);
    click(&server, "damaged", &[LONDONER]);
    let paris = mmdb(&[("81.2.69.0/24", geoip2("FR", "75", "Paris"))]);
    fs::write(dir.path().join("new"), paris).unwrap();
    fs::rename(dir.path().join("new"), &file).unwrap();
    until_failing(0);
    click(&server, "replaced", &[LONDONER]);
    assert_eq!(server.totals(&link), [4, 0, 0]);
    let complaints = server
        .log()
        .matches("the place file cannot be used")
        .count();
    assert_eq!(complaints, 1, "{}", server.log());
    let facts = facts(server);
    assert_eq!(facts["file"][..3], ["GB", "GB-ENG", "London"]);
    assert_eq!(facts["told"][..3], ["DE", "", ""]);
    assert_eq!(facts["damaged"][..3], ["GB", "GB-ENG", "London"]);
    assert_eq!(facts["replaced"][..3], ["FR", "FR-75", "Paris"]);
}

#[test]
fn without_a_usable_file_the_server_starts_and_counts_clicks_without_a_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("city.mmdb");
    for bytes in [None, Some(&b"not a database"[..])] {
        if let Some(bytes) = bytes {
            fs::write(&file, bytes).unwrap();
        }
        let server = Server::start(&[ON_SQLITE, ("TERSE_GEOIP_DB", file.to_str().unwrap())]);
        let link = server.link("here", &json!({}));
        click(&server, "first", &[LONDONER]);
        assert_eq!(server.totals(&link), [1, 0, 0]);
        assert!(server.log().contains("the place file cannot be used"));
        assert_eq!(facts(server)["first"][..3], ["", "", ""]);
    }
}

#[test]
fn a_fetch_by_a_page_is_no_click() {
    let server = Server::start(&[ON_SQLITE]);
    let link = server.link("here", &json!({}));
    click(
        &server,
        "image",
        &[("sec-fetch-mode", b"no-cors"), ("sec-fetch-dest", b"image")],
    );
    click(
        &server,
        "visit",
        &[
            ("sec-fetch-mode", b"navigate"),
            ("sec-fetch-dest", b"document"),
        ],
    );
    assert_eq!(server.totals(&link), [1, 1, 0]);
}
