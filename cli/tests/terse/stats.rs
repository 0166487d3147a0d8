//! Figures.

use serde_json::json;

use crate::server::Server;
use crate::{Shell, link};

#[test]
fn a_summary_of_a_link_asks_by_its_id() {
    let summary = json!({
        "clicks": 12, "visitors": 9, "bots": 3, "previews": 1, "last_clicked_at": null,
        "as_of": "2026-01-02T00:00:00Z", "pending": 0,
    });
    let server = Server::answering(vec![(200, link("id1", "launch")), (200, summary)]);
    let ended = Shell::signed_in(&server.url)
        .run("stats summary launch --tz Europe/Berlin --include bots,previews --output csv");
    assert_eq!(
        ended.stdout,
        "clicks,visitors,bots,previews,last_clicked_at,as_of,pending\n12,9,3,1,,2026-01-02T00:00:00Z,0\n"
    );
    assert_eq!(
        server.lines()[1],
        "GET /api/v1/analytics/summary?tz=Europe%2FBerlin&include=bots%2Cpreviews&link_id=id1"
    );
}

#[test]
fn a_timeseries_is_one_row_a_point() {
    let series = json!({
        "interval": "hour", "tz": "UTC", "as_of": "2026-01-02T00:00:00Z", "pending": 0,
        "points": [
            { "start": "2026-01-01T00:00:00Z", "clicks": 1, "visitors": 1 },
            { "start": "2026-01-01T01:00:00Z", "clicks": 0, "visitors": 0 },
        ],
    });
    let server = Server::answering(vec![(200, series.clone()), (200, series.clone())]);
    let shell = Shell::signed_in(&server.url);
    let asked = "stats timeseries --interval hour --from 2026-01-01T00:00:00Z";
    assert_eq!(
        shell.run(&format!("{asked} --output csv")).stdout,
        "start,clicks,visitors\n2026-01-01T00:00:00Z,1,1\n2026-01-01T01:00:00Z,0,0\n"
    );
    assert_eq!(shell.run(asked).json(), series);
    assert_eq!(
        server.lines()[0],
        "GET /api/v1/analytics/timeseries?from=2026-01-01T00%3A00%3A00Z&interval=hour"
    );
}
