//! Every operation of the document, as everybody who may call: whom it lets in, the document tells.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::operations::{Operation, Permissions, UNKNOWN, operations, text};
use crate::person::Person;
use crate::server::Server;

/// What administrators of the instance may do in every workspace.
const EVERYWHERE: [&str; 3] = ["links:read", "links:block", "audit:read"];

enum Credential<'a> {
    /// Whatever this is, it is good for nothing any more.
    Worthless(Option<String>),
    Session(Person<'a>),
    Key(String),
}

struct Caller<'a> {
    name: String,
    credential: Credential<'a>,
    workspace: String,
    in_workspace: Permissions,
    on_instance: Permissions,
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Allowed,
    Unauthenticated,
    SessionRequired,
    /// One of these is wanted.
    Lacking(Permissions),
}

impl Caller<'_> {
    /// What the document promises.
    fn outcome(&self, operation: &Operation) -> Outcome {
        if operation.is_public() {
            return Outcome::Allowed;
        }
        match self.credential {
            Credential::Worthless(_) => return Outcome::Unauthenticated,
            Credential::Key(_) if !operation.takes_keys => return Outcome::SessionRequired,
            Credential::Key(_) | Credential::Session(_) => {}
        }
        let held = if operation.on_instance {
            &self.on_instance
        } else {
            &self.in_workspace
        };
        let mut alternatives = operation.alternatives.iter();
        if alternatives.any(|wanted| wanted.is_subset(held)) {
            return Outcome::Allowed;
        }
        Outcome::Lacking(operation.alternatives.iter().flatten().cloned().collect())
    }

    /// With identifiers of nothing, and a body that changes nothing.
    fn asks(&self, server: &Server, operation: &Operation, method: &Method) -> Answer {
        let path = operation.at(|pattern| match pattern {
            "/workspaces/{id}" => self.workspace.clone(),
            _ => UNKNOWN.to_owned(),
        });
        let path = if operation.names_workspace() {
            format!("/api/v1{path}")
        } else {
            format!("/api/v1{path}?workspace={}", self.workspace)
        };
        let mut request = server.visitor().request(method.clone(), &path);
        let token = match &self.credential {
            Credential::Worthless(token) => token.as_ref(),
            Credential::Session(person) => Some(&person.token),
            Credential::Key(key) => Some(key),
        };
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if operation.has_body {
            request = request.json(&json!({}));
        }
        request.send().unwrap().into()
    }
}

fn check(answer: &Answer, outcome: &Outcome) -> bool {
    let code = |status: u16, code: &str| {
        let bare = answer.body.is_empty();
        answer.status == status && (bare || answer.problem(status)["code"] == code)
    };
    match outcome {
        Outcome::Allowed => answer.status < 500 && !matches!(answer.status, 401 | 403),
        Outcome::Unauthenticated => answer.status == 401,
        Outcome::SessionRequired => code(403, "session_required"),
        Outcome::Lacking(wanted) => {
            let told = String::from_utf8_lossy(&answer.body);
            let named = wanted.iter().any(|permission| told.contains(permission));
            code(403, "forbidden") && (answer.body.is_empty() || named)
        }
    }
}

struct Walk<'a> {
    server: &'a Server,
    operations: Vec<Operation>,
    roles: BTreeMap<String, Permissions>,
    all: Permissions,
    /// What administrators may do on the instance.
    instance: Permissions,
    let_in: RefCell<BTreeSet<String>>,
}

fn set<'a>(names: impl IntoIterator<Item = &'a str>) -> Permissions {
    names.into_iter().map(str::to_owned).collect()
}

impl<'a> Walk<'a> {
    fn new(server: &'a Server) -> Self {
        let items = |path: &str| server.get(path).expect(200).json()["items"].take();
        let (permissions, roles) = (items("/permissions"), items("/roles"));
        let permissions = permissions.as_array().unwrap();
        let names = |value: &Value| value.as_array().unwrap().iter().map(text).collect();
        let of_instance = permissions.iter().filter(|item| item["on"] == "instance");
        let instance: Permissions = of_instance.map(|item| text(&item["name"])).collect();
        let roles = roles.as_array().unwrap().iter();
        let roles = roles.filter(|role| role["built_in"] == true);
        Self {
            server,
            operations: operations(),
            roles: roles
                .map(|role| (text(&role["name"]), names(&role["permissions"])))
                .collect(),
            all: permissions.iter().map(|item| text(&item["name"])).collect(),
            instance: &instance | &set(EVERYWHERE),
            let_in: RefCell::default(),
        }
    }

    /// Asks for everything; returns whoever asked.
    fn walk(&self, mut caller: Caller<'a>) -> Caller<'a> {
        for operation in &self.operations {
            let outcome = caller.outcome(operation);
            let name = format!("{} {}", operation.method, operation.path);
            let mut methods = vec![operation.method.clone()];
            if operation.method == Method::GET {
                methods.push(Method::HEAD);
            }
            for method in methods {
                let answer = caller.asks(self.server, operation, &method);
                let as_promised = check(&answer, &outcome);
                assert!(
                    as_promised,
                    "{method} {} as {}: {outcome:?}, but {answer:?}",
                    operation.path, caller.name
                );
            }
            if outcome == Outcome::Allowed {
                self.let_in.borrow_mut().insert(name);
            }
            // It may have been the end of the session.
            if let Credential::Session(person) = &mut caller.credential
                && operation.path.starts_with("/auth/")
                && operation.method != Method::GET
            {
                person.sign_in_again();
            }
        }
        caller
    }

    fn member(&self, person: Person<'a>, role: &str, team: &str, held: &Permissions) -> Person<'a> {
        let caller = self.walk(Caller {
            name: format!("a member who is {role}"),
            credential: Credential::Session(person),
            workspace: last(team),
            in_workspace: held.clone(),
            on_instance: Permissions::new(),
        });
        let Credential::Session(person) = caller.credential else {
            unreachable!("it was one before");
        };
        person
    }

    fn key(&self, key: String, name: &str, workspace: &str, held: [Permissions; 2]) {
        let [in_workspace, on_instance] = held;
        self.walk(Caller {
            name: name.to_owned(),
            credential: Credential::Key(key),
            workspace: workspace.to_owned(),
            in_workspace,
            on_instance,
        });
    }

    fn nobody(&self, name: &str, token: Option<String>, workspace: &str) {
        self.walk(Caller {
            name: name.to_owned(),
            credential: Credential::Worthless(token),
            workspace: workspace.to_owned(),
            in_workspace: Permissions::new(),
            on_instance: Permissions::new(),
        });
    }

    fn assert_somebody_was_let_in_everywhere(&self) {
        let let_in = self.let_in.borrow();
        for Operation { method, path, .. } in &self.operations {
            assert!(let_in.contains(&format!("{method} {path}")), "{path}");
        }
    }
}

fn last(path: &str) -> String {
    path.rsplit('/').next().unwrap().to_owned()
}

/// A workspace that nobody deletes by the way: some member belongs to no other one.
fn team(server: &Server) -> (Person<'_>, String) {
    let owner = Person::new(server);
    let team = owner.founds("Team");
    let anchor = owner.admits(&team, "viewer");
    anchor
        .delete(&format!("/workspaces/{}", anchor.home()))
        .expect(204);
    (owner, team)
}

#[test]
fn every_operation_asks_whoever_is_nobody_to_sign_in() {
    let server = Server::shared();
    let walk = Walk::new(&server);
    let (owner, team) = team(&server);
    let team = last(&team);
    walk.nobody("a stranger", None, &team);
    let (key, id) = owner.key(&["links:read"]);
    owner.delete(&format!("/api-keys/{id}")).expect(204);
    walk.nobody("a revoked key", Some(key), &team);
    owner.delete("/auth/sessions").expect(204);
    walk.nobody("an ended session", Some(owner.token), &team);
}

#[test]
fn every_operation_lets_in_the_roles_that_have_its_permission_and_no_others() {
    let server = Server::shared();
    let walk = Walk::new(&server);
    let (owner, team) = team(&server);
    assert_eq!(walk.roles.len(), 4, "{:?}", walk.roles);
    for (role, held) in &walk.roles {
        walk.member(owner.admits(&team, role), role, &team, held);
    }
    let none = json!({"name": "matrix-single", "permissions": []});
    server.post("/roles", &none).expect(201);
    let mut person = owner.admits(&team, "matrix-single");
    person = walk.member(person, "nothing", &team, &Permissions::new());
    for permission in &walk.all - &(&walk.instance - &set(EVERYWHERE)) {
        let only = json!({ "permissions": [permission] });
        server.patch("/roles/matrix-single", &only).expect(200);
        person = walk.member(person, &permission, &team, &set([&*permission]));
    }
    let members = owner.get(&format!("{team}/members")).expect(200).json();
    assert_eq!(members["items"].as_array().unwrap().len(), 7);
}

#[test]
fn every_operation_lets_in_administrators_as_far_as_they_reach() {
    let server = Server::shared();
    let walk = Walk::new(&server);
    let (_, team) = team(&server);
    let admin = server.person("matrix-admin@example.com", "admin");
    let home = admin.home();
    let at_home = &walk.roles["owner"] | &set(EVERYWHERE);
    let reach = [(last(&team), set(EVERYWHERE)), (home, at_home)];
    let mut credential = Credential::Session(admin);
    for (workspace, in_workspace) in reach {
        let caller = walk.walk(Caller {
            name: "an administrator".to_owned(),
            credential,
            workspace,
            in_workspace,
            on_instance: walk.instance.clone(),
        });
        credential = caller.credential;
    }
    walk.assert_somebody_was_let_in_everywhere();
}

#[test]
fn every_operation_lets_in_keys_with_its_scope_and_no_others() {
    let server = Server::shared();
    let walk = Walk::new(&server);
    let (owner, team) = team(&server);
    let team_id = last(&team);
    let of_team = format!("?workspace={team_id}");
    for scope in &walk.roles["owner"] {
        let (key, _) = owner.key_in(&of_team, &[scope]);
        let name = format!("a key for {scope}");
        walk.key(key, &name, &team_id, [set([&**scope]), Permissions::new()]);
    }
    let admin = server.person("matrix-keys@example.com", "admin");
    let home = admin.home();
    let at_home = &walk.roles["owner"] | &set(EVERYWHERE);
    for scope in &walk.all {
        let (key, _) = admin.key(&[scope]);
        let name = format!("an administrator's key for {scope}");
        let held = [&at_home, &walk.instance].map(|owner| &set([&**scope]) & owner);
        walk.key(key, &name, &home, held);
    }
}

#[test]
fn every_operation_takes_a_key_for_no_more_than_its_owner_is_now() {
    let server = Server::shared();
    let walk = Walk::new(&server);
    let (owner, team) = team(&server);
    let member = owner.admits(&team, "admin");
    let scopes: Vec<&str> = walk.roles["admin"].iter().map(String::as_str).collect();
    let (key, _) = member.key_in(&format!("?workspace={}", last(&team)), &scopes);
    let less = json!({"role": "viewer"});
    owner
        .patch(&member.path_in(&owner, &team), &less)
        .expect(200);
    let held = [walk.roles["viewer"].clone(), Permissions::new()];
    walk.key(key, "a demoted member's key", &last(&team), held);
}
