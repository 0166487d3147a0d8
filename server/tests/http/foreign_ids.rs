//! What belongs to others is answered like what does not exist.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::operations::{Operation, UNKNOWN, operations, text};
use crate::person::Person;
use crate::server::{ON_ONE_NODE, Server, until};

/// Spellings of what does not exist; most cannot be identifiers at all.
const NOTHING: [&str; 4] = [UNKNOWN, "x", "%C3%A4", "%00"];

/// What somebody else has.
struct Foreign<'a> {
    server: &'a Server,
    owner: Person<'a>,
    workspace: String,
    link: Value,
    /// By the path in the document up to the identifier.
    ids: BTreeMap<&'static str, String>,
}

impl<'a> Foreign<'a> {
    fn new(server: &'a Server) -> Self {
        let owner = Person::new(server);
        let path = owner.founds("Eve's");
        let workspace = path.rsplit('/').next().unwrap().to_owned();
        let guest = owner.admits(&path, "editor");
        let in_it = format!("?workspace={workspace}");
        let link = json!({
            "target_url": "https://example.com/secret", "slug": "secret", "tags": ["secret"],
        });
        let link = owner.post(&format!("/links{in_it}"), &link);
        let link = link.expect(201).json();
        let (_, key) = owner.key_in(&in_it, &["links:read"]);
        let role = json!({"name": "secret", "permissions": ["links:read"]});
        server.post("/roles", &role).expect(201);
        let job = stuck_invitation(server, &owner, &format!("{path}/invitations"));
        let open = owner.get(&format!("{path}/invitations")).expect(200).json();
        let sessions = owner.get("/auth/sessions").expect(200).json();
        let ids = BTreeMap::from([
            ("/links/{id}", text(&link["id"])),
            ("/api-keys/{id}", key),
            ("/auth/sessions/{id}", text(&sessions["items"][0]["id"])),
            ("/users/{id}", owner.id.clone()),
            ("/workspaces/{id}", workspace.clone()),
            ("/workspaces/{id}/members/{user_id}", guest.id),
            (
                "/workspaces/{id}/invitations/{invitation_id}",
                text(&open["items"][0]["id"]),
            ),
            ("/jobs/{id}", job),
            ("/roles/{name}", "secret".to_owned()),
        ]);
        Self {
            server,
            owner,
            workspace,
            link,
            ids,
        }
    }

    fn id(&self, pattern: &str) -> String {
        let id = self.ids.get(pattern);
        id.unwrap_or_else(|| panic!("nobody decided what a foreign {pattern} is"))
            .clone()
    }

    /// All of it, as those see it who may, and who did what to it.
    fn snapshot(&self) -> Vec<Value> {
        let path = self.id("/workspaces/{id}");
        let paths = [
            "/me".to_owned(),
            "/auth/sessions".to_owned(),
            "/roles".to_owned(),
            format!("/links/{}?workspace={path}", self.id("/links/{id}")),
            format!("/api-keys?workspace={path}"),
            format!("/workspaces/{path}"),
            format!("/workspaces/{path}/members"),
            format!("/workspaces/{path}/invitations"),
        ];
        let seen = paths.map(|path| self.owner.get(&path).expect(200).json());
        let done = self.ids.values().map(|id| {
            let path = format!("/audit-log?object={id}");
            self.server.get(&path).expect(200).json()
        });
        seen.into_iter().chain(done).collect()
    }
}

/// Invites somebody by a mail that cannot be written; the job that waits for it.
fn stuck_invitation(server: &Server, owner: &Person<'_>, invitations: &str) -> String {
    let outbox = server.data().join("outbox");
    fs::remove_dir_all(&outbox).unwrap();
    fs::write(&outbox, "no directory").unwrap();
    let invitation = json!({"email": "open@example.com", "role": "viewer"});
    owner.post(invitations, &invitation).expect(201);
    until("a job has failed once", || {
        let jobs = server.get("/jobs").expect(200).json();
        let mut jobs = jobs["items"].as_array().unwrap().iter();
        let failed = jobs.find(|job| job["error"].is_string());
        failed.map(|job| text(&job["id"]))
    })
}

/// A body that would change something.
fn body(operation: &Operation) -> Value {
    let name = format!("{} {}", operation.method, operation.path);
    match &*name {
        "PATCH /links/{id}" => json!({"title": "Taken"}),
        "PATCH /me" | "PATCH /users/{id}" | "PATCH /workspaces/{id}" | "POST /workspaces" => {
            json!({"name": "Taken"})
        }
        "PATCH /workspaces/{id}/members/{user_id}" => json!({"role": "viewer"}),
        "POST /workspaces/{id}/invitations" => {
            json!({"email": "taken@example.com", "role": "viewer"})
        }
        "PATCH /roles/{name}" => json!({"permissions": []}),
        "POST /links" => json!({"target_url": "https://example.com/taken"}),
        "POST /api-keys" => json!({"name": "taken", "scopes": ["links:read"]}),
        _ if operation.has_body && operation.has_parameters() => {
            panic!("nobody decided what changes something in {name}")
        }
        _ if operation.has_body => json!({}),
        _ => Value::Null,
    }
}

/// All that an answer says, but for the request's name and the time.
fn told(answer: &Answer) -> (u16, BTreeMap<String, Vec<u8>>, String) {
    let own = ["x-request-id", "date"];
    let headers = answer.headers.iter();
    let headers = headers.filter(|(name, _)| !own.contains(&name.as_str()));
    let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    let id = answer.header("x-request-id");
    assert!(!id.is_empty());
    (
        answer.status,
        headers.collect(),
        answer.text().replace(id, ""),
    )
}

/// Somebody who may not see any of it.
struct Outsider<'a> {
    person: Person<'a>,
    workspace: String,
    /// Sees all workspaces, accounts, jobs and roles, rightly.
    is_administrator: bool,
}

impl Outsider<'_> {
    fn compare(&self, operation: &Operation, foreign: &str, unknown: &str) {
        let Operation { method, path, .. } = operation;
        let body = body(operation);
        let foreign = self.person.asks(method.as_str(), foreign, &body);
        let unknown = self.person.asks(method.as_str(), unknown, &body);
        assert_eq!(told(&foreign), told(&unknown), "{method} {path}");
        assert!(matches!(foreign.status, 403 | 404), "{method} {foreign:?}");
        let by_key = self.person.id.is_empty();
        let refused_anyway = operation.on_instance || (by_key && !operation.takes_keys);
        assert!(
            foreign.status == 404 || refused_anyway,
            "{method} {foreign:?}"
        );
    }

    /// The operation's path with these identifiers; below a workspace of one's own if `at_home`.
    fn path(&self, operation: &Operation, at_home: bool, id: impl Fn(&str) -> String) -> String {
        operation.at(|pattern| {
            if at_home && pattern == "/workspaces/{id}" {
                self.workspace.clone()
            } else {
                id(pattern)
            }
        })
    }

    fn may_see(&self, operation: &Operation, at_home: bool) -> bool {
        let in_their_workspace = operation.names_workspace() && !at_home;
        self.is_administrator && (operation.on_instance || in_their_workspace)
    }

    /// Tries every identifier that stands in a path; returns how many times.
    fn tries_paths(&self, operations: &[Operation], theirs: &Foreign<'_>) -> usize {
        let mut tried = 0;
        for operation in operations.iter().filter(|it| it.has_parameters()) {
            let is_nested = operation.names_workspace() && operation.path.matches('{').count() > 1;
            for at_home in [false, true] {
                if self.may_see(operation, at_home) || (at_home && !is_nested) {
                    continue;
                }
                let foreign = self.path(operation, at_home, |pattern| theirs.id(pattern));
                for nothing in NOTHING {
                    let unknown = self.path(operation, at_home, |_| nothing.to_owned());
                    self.compare(operation, &foreign, &unknown);
                    tried += 1;
                }
            }
        }
        tried
    }

    /// Tries to act in the workspace by naming it in a query.
    fn tries_workspace(&self, operations: &[Operation], theirs: &Foreign<'_>) -> usize {
        let mut tried = 0;
        for operation in operations.iter().filter(|it| !it.is_public()) {
            if operation.names_workspace() {
                continue;
            }
            let path = operation.at(|pattern| theirs.id(pattern));
            let foreign = format!("{path}?workspace={}", theirs.workspace);
            for nothing in NOTHING {
                self.compare(operation, &foreign, &format!("{path}?workspace={nothing}"));
                tried += 1;
            }
        }
        tried
    }

    fn tries_queries(&self, theirs: &Foreign<'_>) {
        let short_url = text(&theirs.link["short_url"]);
        let unknown_url = short_url.replace("secret", "unknown");
        let (id, home) = (text(&theirs.link["id"]), &self.workspace);
        let audit = format!("/workspaces/{home}/audit-log");
        let owner = &theirs.owner.id;
        for (path, parameter, foreign, unknown, status) in [
            ("/analytics/summary", "link_id", &*id, UNKNOWN, 404),
            ("/analytics/timeseries", "link_id", &id, UNKNOWN, 404),
            (
                "/analytics/breakdown?dimension=os",
                "link_id",
                &id,
                UNKNOWN,
                404,
            ),
            ("/analytics/clicks", "link_id", &id, UNKNOWN, 404),
            ("/analytics/export", "link_id", &id, UNKNOWN, 404),
            ("/analytics/live", "link_id", &id, UNKNOWN, 404),
            ("/links/lookup", "short_url", &short_url, &unknown_url, 404),
            ("/links", "tag", "secret", "unknown", 200),
            ("/links", "search", "secret", "unknown", 200),
            (&audit, "object", &id, UNKNOWN, 200),
            (&audit, "user_id", owner, UNKNOWN, 200),
        ] {
            let joint = if path.contains('?') { '&' } else { '?' };
            let ask = |value: &str| {
                let path = format!("{path}{joint}{parameter}={value}");
                self.person.get(&path)
            };
            let (foreign, unknown) = (ask(foreign), ask(unknown));
            assert_eq!(told(&foreign), told(&unknown), "{path} {parameter}");
            let answer = foreign.expect(status);
            if status == 200 {
                assert_eq!(answer.json()["items"], json!([]), "{path} {parameter}");
            }
        }
    }
}

#[test]
fn what_belongs_to_another_workspace_is_answered_like_what_does_not_exist() {
    let server = Server::start(&[ON_ONE_NODE]);
    let theirs = Foreign::new(&server);
    let before = theirs.snapshot();
    let operations = operations();
    let bob = Person::new(&server);
    let workspace = bob.home();
    let me = bob.get("/me").expect(200).json();
    let scopes = me["permissions"].as_array().unwrap().iter();
    let scopes: Vec<&str> = scopes.map(|scope| scope.as_str().unwrap()).collect();
    let (key, _) = bob.key(&scopes);
    for person in [bob, server.holder(&key)] {
        let outsider = Outsider {
            person,
            workspace: workspace.clone(),
            is_administrator: false,
        };
        assert!(outsider.tries_paths(&operations, &theirs) >= 24 * 4);
        assert!(outsider.tries_workspace(&operations, &theirs) >= 32 * 4);
        outsider.tries_queries(&theirs);
    }
    assert_eq!(theirs.snapshot(), before);
}

#[test]
fn administrators_find_what_belongs_to_another_workspace_only_where_they_look_into_it() {
    let server = Server::start(&[ON_ONE_NODE]);
    let theirs = Foreign::new(&server);
    let before = theirs.snapshot();
    let person = server.person("foreign-admin@example.com", "admin");
    let outsider = Outsider {
        workspace: person.home(),
        person,
        is_administrator: true,
    };
    assert!(outsider.tries_paths(&operations(), &theirs) >= 8 * 4);
    outsider.tries_queries(&theirs);
    assert_eq!(theirs.snapshot(), before);
}
