//! What visitors can write into the files of others.

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{BROWSER, Server};

/// Follows a link with facts that would be formulas, lines or events wherever they are shown.
pub(crate) fn visit(server: &Server, slug: &str) {
    let query = "utm_source=%3D1%2B1&utm_medium=%40SUM(1)&utm_campaign=%0D%0Aevent%3A%20click%0D%0A%0D%0A\
                 &utm_term=%09%3Dcmd%7C'%2FC%20calc'!A0%22%2C%22&utm_content=%EF%BC%9D1";
    let request = server
        .visitor()
        .request(Method::GET, &format!("/{slug}?{query}"))
        .header("Referer", "https://=2+3.example/\"a,b\"")
        .header("Accept-Language", "=1+1,-2;q=0.5");
    assert_eq!(request.send().unwrap().status(), 302);
}

/// As strict as a spreadsheet is lax.
fn is_formula(cell: &str) -> bool {
    let seen = cell.trim_start_matches(|c: char| c.is_whitespace() || c.is_control());
    seen.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
        || cell.starts_with(['\t', '\r', '\n', '\0'])
}

fn rows(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new();
    let mut reader = reader.has_headers(false).from_reader(text.as_bytes());
    // A row with another number of cells is an error.
    let rows = reader.records().map(Result::unwrap);
    rows.map(|row| row.iter().map(str::to_owned).collect())
        .collect()
}

#[test]
fn no_click_becomes_a_formula_or_breaks_a_row() {
    let server = Server::start(&[]);
    let link = server.link("hostile", &json!({}));
    visit(&server, "hostile");
    let strange = server
        .visitor()
        .get_with("/hostile", "user-agent", "=HYPERLINK(\"http://x\")");
    strange.expect(302);
    let odd = format!("{BROWSER}\t=1,\"x\"");
    let odd = server.visitor().get_with("/hostile", "user-agent", &odd);
    odd.expect(302);
    server.totals(&link);
    let exported = |format: &str| {
        let path = format!("/analytics/export?include=bots,previews&format={format}");
        server.get(&path).expect(200)
    };
    let clicks = exported("json").json();
    let clicks = clicks.as_array().unwrap();
    let rows = rows(&exported("csv").text());
    assert_eq!((rows.len(), clicks.len()), (4, 3));
    let mut disarmed = 0;
    for click in clicks {
        let id = click["id"].as_str().unwrap();
        let row = rows.iter().find(|row| row[0] == id).unwrap();
        for (name, cell) in rows[0].iter().zip(row) {
            assert!(!is_formula(cell), "{name}: {cell:?}");
            let value = click[name].as_str().unwrap();
            let shown = if is_formula(value) {
                disarmed += 1;
                format!("'{value}")
            } else {
                value.to_owned()
            };
            assert_eq!(cell, &shown, "{name}");
        }
    }
    assert!(disarmed >= 3, "{clicks:?}");
    assert!(clicks.iter().any(|click| click["utm_source"] == "=1+1"));
    let page = server.get("/analytics/clicks?include=bots,previews");
    let page = page.expect(200).json();
    let mut listed: Vec<&Value> = page["items"].as_array().unwrap().iter().collect();
    let mut clicks: Vec<&Value> = clicks.iter().collect();
    listed.sort_by_key(|click| click["id"].as_str());
    clicks.sort_by_key(|click| click["id"].as_str());
    assert_eq!(listed, clicks);
}
