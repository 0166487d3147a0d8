use serde_json::Value;

use crate::common::{Node, client};
use crate::post_office::{is_available, sql};
use crate::running;

fn call(node: &Node, token: &str, method: &str, path: &str) -> (u16, Value) {
    let request = client()
        .request(method.parse().unwrap(), node.url(&format!("/api/v1{path}")))
        .header("Host", "localhost")
        .bearer_auth(token);
    let answer = request.send().unwrap();
    (answer.status().as_u16(), answer.json().unwrap())
}

#[test]
fn an_administrator_sees_dead_jobs_and_has_them_tried_again() {
    if !is_available() {
        return;
    }
    let node = running(&[]);
    let token = node.token();
    let insert = "INSERT INTO jobs (id, kind, payload, state, attempts, run_at, error, created_at, updated_at) VALUES \
         (7, 'mail', '{\"about\":\"no_account\",\"email\":\"eve@example.com\"}', 'dead', 8, 1, 'refused (550)', 1, 2), \
         (6, 'mail', '{}', 'queued', 1, 4102444800000, NULL, 1, 1)";
    sql(&node, &[insert]);
    let (status, page) = call(&node, &token, "GET", "/jobs?state=dead");
    assert_eq!(status, 200);
    assert_eq!(
        page,
        serde_json::json!({
            "items": [{
                "id": "0000000000007",
                "kind": "mail",
                "state": "dead",
                "attempts": 8,
                "run_at": "1970-01-01T00:00:00.001Z",
                "error": "refused (550)",
                "created_at": "1970-01-01T00:00:00.001Z",
                "updated_at": "1970-01-01T00:00:00.002Z",
            }],
            "next_cursor": null,
        })
    );
    let (_, first) = call(&node, &token, "GET", "/jobs?limit=1");
    let cursor = first["next_cursor"].as_str().unwrap();
    let (_, second) = call(
        &node,
        &token,
        "GET",
        &format!("/jobs?limit=1&cursor={cursor}"),
    );
    assert_eq!(first["items"][0]["id"], "0000000000007");
    assert_eq!(second["items"][0]["id"], "0000000000006");
    assert!(second["next_cursor"].is_null());

    let retry = |id: &str| call(&node, &token, "POST", &format!("/jobs/{id}/retry"));
    let (status, job) = retry("0000000000007");
    assert_eq!((status, &job["state"]), (200, &"queued".into()));
    let (status, problem) = retry("0000000000006");
    assert_eq!((status, &problem["code"]), (409, &"job_not_dead".into()));
    for unknown in ["0000000000001", "x"] {
        let (status, problem) = retry(unknown);
        assert_eq!((status, &problem["code"]), (404, &"not_found".into()));
    }
    for query in ["state=lost", "limit=0", "limit=201", "limit=x", "cursor=x"] {
        let (status, problem) = call(&node, &token, "GET", &format!("/jobs?{query}"));
        assert_eq!(
            (status, &problem["code"]),
            (422, &"validation_failed".into())
        );
    }
    let audit = "SELECT action, object FROM audit_log WHERE action LIKE 'job.%'";
    assert_eq!(sql(&node, &[audit]), [["job.retry", "0000000000007"]]);
}
