//! What the OpenAPI document says of every operation: where it is, and whom it lets in.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use crate::server::run;

/// A well-formed identifier that nothing has.
pub(crate) const UNKNOWN: &str = "0123456789abc";

pub(crate) type Permissions = BTreeSet<String>;

#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) method: Method,
    /// As in the document, with parameters in braces.
    pub(crate) path: String,
    /// Each set of scopes is enough; none at all when nobody has to sign in.
    pub(crate) alternatives: Vec<Permissions>,
    pub(crate) takes_keys: bool,
    pub(crate) on_instance: bool,
    pub(crate) has_body: bool,
}

impl Operation {
    fn read(method: &str, path: &str, described: &Value) -> Self {
        let name = format!("{method} {path}");
        assert!(
            described["x-undecided"].is_null(),
            "nobody decided on {name}"
        );
        let security = described["security"].as_array();
        let security = security.unwrap_or_else(|| panic!("nobody decided on {name}"));
        let (mut alternatives, mut takes_keys) = (Vec::new(), false);
        for alternative in security {
            let schemes = alternative.as_object().unwrap();
            assert_eq!(schemes.len(), 1, "{name}");
            if let Some(scopes) = schemes.get("AccessToken") {
                let scopes = scopes.as_array().unwrap().iter();
                alternatives.push(scopes.map(text).collect());
            } else {
                assert!(schemes.contains_key("ApiKey"), "{name}: {schemes:?}");
                takes_keys = true;
            }
        }
        assert!(!takes_keys || !alternatives.is_empty(), "{name}");
        let on = &described["x-permission-on"];
        assert!(on.is_null() || on == "instance", "{name}: {on}");
        Self {
            method: method.to_ascii_uppercase().parse().unwrap(),
            path: path.to_owned(),
            alternatives,
            takes_keys,
            on_instance: !on.is_null(),
            has_body: !described["requestBody"].is_null(),
        }
    }

    pub(crate) fn is_public(&self) -> bool {
        self.alternatives.is_empty()
    }

    pub(crate) fn has_parameters(&self) -> bool {
        self.path.contains('{')
    }

    /// Whether its path names the workspace that it acts in.
    pub(crate) fn names_workspace(&self) -> bool {
        self.path.starts_with("/workspaces/{")
    }

    /// Its path with these values; `value` gets the path up to and with the parameter.
    pub(crate) fn at(&self, mut value: impl FnMut(&str) -> String) -> String {
        let (mut pattern, mut filled) = (String::new(), String::new());
        for part in self.path.split('/').skip(1) {
            pattern.push('/');
            pattern.push_str(part);
            filled.push('/');
            if part.starts_with('{') {
                filled.push_str(&value(&pattern));
            } else {
                filled.push_str(part);
            }
        }
        filled
    }
}

/// Every operation of the document.
pub(crate) fn operations() -> Vec<Operation> {
    let document = run(&["openapi"], &[]).stdout;
    let document: Value = serde_json::from_slice(&document).unwrap();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, described) in methods.as_object().unwrap() {
            operations.push(Operation::read(method, path, described));
        }
    }
    assert!(operations.len() >= 50, "{}", operations.len());
    operations
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
