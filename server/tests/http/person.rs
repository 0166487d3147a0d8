//! Somebody with an account of their own, or a program with a key.

use std::sync::atomic::{AtomicU32, Ordering};

use reqwest::Method;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::outbox::token_in;
use crate::server::{PASSWORD, Server, changed, until};

pub(crate) struct Person<'a> {
    server: &'a Server,
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) token: String,
    pub(crate) refresh_token: String,
}

impl Server {
    /// Makes an account and signs in to it.
    #[track_caller]
    pub(crate) fn person(&self, email: &str, role: &str) -> Person<'_> {
        let body = json!({"email": email, "password": PASSWORD, "role": role});
        let user = self.post("/users", &body).expect(201).json();
        let mut person = Person {
            server: self,
            id: user["id"].as_str().unwrap().to_owned(),
            email: email.to_owned(),
            token: String::new(),
            refresh_token: String::new(),
        };
        person.sign_in_again();
        person
    }

    /// Whoever holds this key or token.
    pub(crate) fn holder(&self, token: &str) -> Person<'_> {
        Person {
            server: self,
            id: String::new(),
            email: String::new(),
            token: token.to_owned(),
            refresh_token: String::new(),
        }
    }
}

impl<'a> Person<'a> {
    /// Somebody new, who is no administrator.
    pub(crate) fn new(server: &'a Server) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        server.person(&format!("person{number}@example.com"), "user")
    }

    pub(crate) fn sign_in_again(&mut self) {
        let granted = self.server.sign_in_as(&self.email, PASSWORD);
        granted["access_token"]
            .as_str()
            .unwrap()
            .clone_into(&mut self.token);
        granted["refresh_token"]
            .as_str()
            .unwrap()
            .clone_into(&mut self.refresh_token);
    }

    pub(crate) fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let path = format!("/api/v1{path}");
        let changes = method != Method::GET;
        let mut request = self.server.visitor().request(method, &path);
        request = request.bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        if changes {
            changed(request)
        } else {
            request.send().unwrap().into()
        }
    }

    /// A request by the name of its method.
    pub(crate) fn asks(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = (!body.is_null()).then_some(body);
        self.ask(method.parse().unwrap(), path, body)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::POST, path, Some(body))
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::PATCH, path, Some(body))
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path, None)
    }

    pub(crate) fn refresh(&self) -> Answer {
        self.server.token_request(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", &self.refresh_token),
        ])
    }

    /// A key with these scopes, as text, and its id.
    #[track_caller]
    pub(crate) fn key(&self, scopes: &[&str]) -> (String, String) {
        self.key_in("", scopes)
    }

    /// A key for the workspace that a query names.
    #[track_caller]
    pub(crate) fn key_in(&self, query: &str, scopes: &[&str]) -> (String, String) {
        let body = json!({"name": "a program", "scopes": scopes});
        let made = self
            .post(&format!("/api-keys{query}"), &body)
            .expect(201)
            .json();
        let text = |member: &str| made[member].as_str().unwrap().to_owned();
        (text("key"), text("id"))
    }

    /// The person's own workspace.
    pub(crate) fn home(&self) -> String {
        let me = self.get("/me").expect(200).json();
        me["workspace_id"].as_str().unwrap().to_owned()
    }

    /// Makes a workspace; where the API has it.
    pub(crate) fn founds(&self, name: &str) -> String {
        let made = self.post("/workspaces", &json!({ "name": name }));
        let made = made.expect(201).json();
        format!("/workspaces/{}", made["id"].as_str().unwrap())
    }

    /// Somebody new whom this person lets into a workspace.
    pub(crate) fn admits(&self, workspace: &str, role: &str) -> Self {
        let other = Self::new(self.server);
        other.joins(self, workspace, role);
        other
    }

    /// Gets into a workspace by an invitation.
    pub(crate) fn joins(&self, host: &Self, workspace: &str, role: &str) {
        let invitation = json!({ "email": self.email, "role": role });
        let path = format!("{workspace}/invitations");
        host.post(&path, &invitation).expect(201);
        // The newest mail may still be one of an earlier invitation.
        until("the invitation is accepted", || {
            let token = self.mailed_token();
            let answer = self.post("/invitations/accept", &json!({ "token": token }));
            (answer.status == 200).then_some(())
        });
    }

    /// The token of the newest invitation that this person got by mail.
    pub(crate) fn mailed_token(&self) -> String {
        until("an invitation is mailed", || {
            let mails = self.server.mails_to(&self.email);
            let newest = mails
                .iter()
                .rev()
                .find(|mail| mail.contains("/invite?token="));
            newest.map(|mail| token_in(mail, "invite"))
        })
    }

    /// This person as a workspace's list has them.
    pub(crate) fn among_members(&self, host: &Self, workspace: &str) -> Option<Value> {
        let list = host.get(&format!("{workspace}/members")).expect(200).json();
        let members = list["items"].as_array().unwrap();
        members
            .iter()
            .find(|member| member["email"] == self.email)
            .cloned()
    }

    /// Where the API has this person as a member.
    pub(crate) fn path_in(&self, host: &Self, workspace: &str) -> String {
        let member = self.among_members(host, workspace).unwrap();
        format!(
            "{workspace}/members/{}",
            member["user_id"].as_str().unwrap()
        )
    }
}
