//! Questions about clicks, as query strings ask them. What may be asked is one table, for reading
//! and for the document; dimensions come from the table of core.

use std::collections::BTreeMap;

use poem::{FromRequest, Request, RequestBody};
use serde_json::{Map, Value, json};
use terse_core::analytics::{AnalyticsQuery, Filter};
use terse_core::model::Dimension;

use crate::api::PREFIX;
use crate::problem::{Problem, RefusedField};

/// Misspelt names that one answer tells at most.
const MAX_TOLD: usize = 20;

/// A query string that was understood: a name that means nothing is refused, because a misspelt
/// filter must not give figures of everything.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) query: AnalyticsQuery,
    own: BTreeMap<&'static str, String>,
}

/// A parameter that is given once at most.
#[derive(Clone, Copy, Debug)]
struct Parameter {
    name: &'static str,
    about: &'static str,
    form: Form,
}

/// What a parameter looks like.
#[derive(Clone, Copy, Debug)]
enum Form {
    Text,
    /// From one to this.
    Number(i64),
    Choice(&'static [&'static str]),
    /// The name of a dimension. It has to be given.
    Dimension,
}

const fn text(name: &'static str, about: &'static str) -> Parameter {
    Parameter {
        name,
        about,
        form: Form::Text,
    }
}

const fn choice(
    name: &'static str,
    about: &'static str,
    values: &'static [&'static str],
) -> Parameter {
    Parameter {
        name,
        about,
        form: Form::Choice(values),
    }
}

const fn limit(about: &'static str, most: i64) -> Parameter {
    Parameter {
        name: "limit",
        about,
        form: Form::Number(most),
    }
}

const PERIOD: &[Parameter] = &[
    text("from", "RFC 3339; 30 days before `to` when absent"),
    text("to", "RFC 3339, exclusive; now when absent"),
];
const COMMON: &[Parameter] = &[
    text("tz", "IANA time zone such as `Europe/Berlin`, default UTC"),
    text(
        "include",
        "`bots`, `previews` or `bots,previews`: counted and shown too",
    ),
];
const METRICS: &[Parameter] = &[text(
    "metrics",
    "`clicks` leaves visitors out (`null`), which is faster; default `clicks,visitors`",
)];
const COMPARE: &[Parameter] = &[choice(
    "compare",
    "`previous` adds the period before, equally long",
    &["previous"],
)];
const INTERVAL: &[Parameter] = &[choice(
    "interval",
    "Default `day`; at most 10,000 points are returned",
    &["15min", "hour", "day", "week", "month"],
)];
const GROUPS: &[Parameter] = &[
    Parameter {
        name: "dimension",
        about: "By what to group",
        form: Form::Dimension,
    },
    limit("Rows, default 10", 1_000),
];
const PAGE: &[Parameter] = &[
    text("cursor", "`next_cursor` of the page before"),
    limit("Default 50", 200),
    choice("order", "By time, default `desc`", &["asc", "desc"]),
];
const FORMAT: &[Parameter] = &[choice("format", "Default `csv`", &["csv", "json"])];
const AFTER: &[Parameter] = &[text(
    "after",
    "The id of an event: go on after it. `Last-Event-ID` counts before it",
)];

/// What each operation is asked, beside the parameters that can be repeated.
const OPERATIONS: &[(&str, &[&[Parameter]])] = &[
    ("/analytics/summary", &[PERIOD, COMMON, METRICS, COMPARE]),
    (
        "/analytics/timeseries",
        &[PERIOD, COMMON, METRICS, INTERVAL],
    ),
    ("/analytics/breakdown", &[PERIOD, COMMON, METRICS, GROUPS]),
    ("/analytics/clicks", &[PERIOD, COMMON, PAGE]),
    ("/analytics/export", &[PERIOD, COMMON, FORMAT]),
    ("/analytics/live", &[COMMON, AFTER]),
];

/// The paths of all operations, with their parameters.
fn operations() -> impl Iterator<Item = (&'static str, Vec<Parameter>)> {
    OPERATIONS
        .iter()
        .map(|(path, parameters)| (*path, parameters.concat()))
}

/// Parameters that can be repeated, in every operation: their names and what they are.
fn repeatable() -> impl Iterator<Item = (&'static str, &'static str)> {
    let of_links = [
        ("link_id", "Only these links"),
        ("tag", "Only links with one of these tags"),
        ("domain", "Only links on one of these domains"),
    ];
    let filters = AnalyticsQuery::filterable();
    let filters = filters.map(|dimension| (dimension.name(), about(dimension)));
    of_links.into_iter().chain(filters)
}

/// One line for people.
fn about(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Fact(fact) => fact.about(),
        Dimension::Continent => "Continent of the country: `AF AN AS EU NA OC SA`",
        Dimension::Reason => "Why the click is a person's, a bot's or a preview's",
        Dimension::Link => "Id of the link",
        Dimension::Tag => "Tag of the link",
        Dimension::Domain => "Domain of the link",
    }
}

impl Question {
    fn read(known: &[Parameter], query: &str) -> Result<Self, Vec<RefusedField>> {
        let repeatable: Vec<&str> = repeatable().map(|(name, _)| name).collect();
        let mut repeated: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut own = BTreeMap::new();
        let mut refused = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if let Some(name) = repeatable.iter().find(|known| **known == name) {
                repeated.entry(name).or_default().push(value.into_owned());
                continue;
            }
            // Whoever calls has told by it where to look; see `security`.
            let single = known.iter().map(|parameter| parameter.name);
            let Some(single) = single.chain(["workspace"]).find(|single| *single == name) else {
                refused.push(RefusedField::new(
                    &name,
                    "parameter_unknown",
                    "is no parameter of this operation; see the documentation",
                ));
                continue;
            };
            if own.insert(single, value.into_owned()).is_some() {
                let message = "can be given only once";
                refused.push(RefusedField::new(single, "parameter_repeated", message));
            }
        }
        refused.extend(known.iter().filter_map(|it| it.refusal(own.get(it.name))));
        if refused.is_empty() {
            Ok(Self::new(repeated, own))
        } else {
            refused.truncate(MAX_TOLD);
            Err(refused)
        }
    }

    fn new(
        mut repeated: BTreeMap<&str, Vec<String>>,
        mut own: BTreeMap<&'static str, String>,
    ) -> Self {
        let mut several = |name| repeated.remove(name).unwrap_or_default();
        let filters = AnalyticsQuery::filterable().map(|dimension| Filter {
            dimension,
            values: several(dimension.name()),
        });
        let filters = filters.filter(|filter| !filter.values.is_empty()).collect();
        let query = AnalyticsQuery {
            link_id: several("link_id"),
            tag: several("tag"),
            domain: several("domain"),
            from: own.remove("from"),
            to: own.remove("to"),
            tz: own.remove("tz"),
            include: own.remove("include"),
            filters,
            metrics: own.remove("metrics"),
        };
        Self { query, own }
    }

    /// Takes a parameter of this operation out.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.own.remove(name)
    }

    /// Takes a number out; reading has made sure that it is one.
    pub(crate) fn take_number(&mut self, name: &str) -> Option<i64> {
        self.take(name)?.parse().ok()
    }
}

impl Parameter {
    /// Why this value cannot even be asked; whether it makes sense, core decides.
    fn refusal(&self, value: Option<&String>) -> Option<RefusedField> {
        match (self.form, value) {
            (Form::Dimension, None) => Some(RefusedField::new(
                self.name,
                "required",
                "must be given: the name of a dimension",
            )),
            (Form::Number(_), Some(value)) if value.parse::<i64>().is_err() => Some(
                RefusedField::new(self.name, "number_invalid", "must be a whole number"),
            ),
            _ => None,
        }
    }

    /// As the document has it.
    fn described(&self) -> Value {
        let schema = match self.form {
            Form::Text => json!({ "type": "string" }),
            Form::Number(most) => json!({ "type": "integer", "minimum": 1, "maximum": most }),
            Form::Choice(values) => json!({ "type": "string", "enum": values }),
            Form::Dimension => {
                let names: Vec<&str> = Dimension::all().map(Dimension::name).collect();
                json!({ "type": "string", "enum": names })
            }
        };
        json!({
            "name": self.name,
            "in": "query",
            "description": self.about,
            "required": matches!(self.form, Form::Dimension),
            "schema": schema,
        })
    }
}

/// Writes into an OpenAPI document what can be asked: the framework knows only parameters that
/// handlers spell out.
pub(super) fn describe(document: &mut Value) {
    let mut shared = Map::new();
    for (name, about) in repeatable() {
        let parameter = json!({
            "name": name,
            "in": "query",
            "description": format!("{about}. Repeatable{}", exclusion(name)),
            "required": false,
            "explode": true,
            "schema": { "type": "array", "items": { "type": "string" } },
        });
        shared.insert(name.to_owned(), parameter);
    }
    for (path, known) in operations() {
        let operation = &mut document["paths"][path]["get"];
        let own = known.iter().map(Parameter::described);
        let reference = |name| json!({ "$ref": format!("#/components/parameters/{name}") });
        let repeatable = shared.keys().map(reference);
        operation["parameters"] = own.chain(repeatable).collect();
    }
    document["components"]["parameters"] = Value::Object(shared);
}

/// What filters can do that links, tags and domains cannot.
fn exclusion(name: &str) -> &'static str {
    if AnalyticsQuery::filterable().any(|dimension| dimension.name() == name) {
        "; `!` before a value excludes it"
    } else {
        ""
    }
}

impl<'a> FromRequest<'a> for Question {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let uri = request.original_uri();
        let path = uri.path().strip_prefix(PREFIX).unwrap_or_default();
        let (_, known) = operations()
            .find(|(known, _)| *known == path)
            .ok_or_else(Problem::internal)?;
        let question = Self::read(&known, uri.query().unwrap_or_default());
        question.map_err(|refused| Problem::refused(refused).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str, query: &str) -> Result<Question, Vec<(String, String)>> {
        let (_, known) = operations().find(|(known, _)| *known == path).unwrap();
        Question::read(&known, query).map_err(|refused| {
            let told = refused.into_iter();
            told.map(|field| (field.field, field.code.into_owned()))
                .collect()
        })
    }

    #[test]
    fn every_dimension_is_a_filter_and_keeps_its_values_in_order() {
        for dimension in AnalyticsQuery::filterable() {
            let name = dimension.name();
            let query = format!("{name}=a&tag=x&{name}=%21b%26&{name}=");
            let question = read("/analytics/summary", &query).unwrap();
            let filter = Filter {
                dimension,
                values: vec!["a".to_owned(), "!b&".to_owned(), String::new()],
            };
            assert_eq!(question.query.filters, [filter]);
            assert_eq!(question.query.tag, ["x"]);
        }
    }

    #[test]
    fn one_parameter_is_read_by_the_operations_that_have_it_and_refused_by_the_others() {
        let mut question = read("/analytics/clicks", "limit=7&cursor=c&workspace=w").unwrap();
        assert_eq!(question.take_number("limit"), Some(7));
        assert_eq!(question.take("cursor").as_deref(), Some("c"));
        let refused = read("/analytics/live", "from=x&limit=1").unwrap_err();
        let unknown = |name: &str| (name.to_owned(), "parameter_unknown".to_owned());
        assert_eq!(refused, [unknown("from"), unknown("limit")]);
    }

    #[test]
    fn names_that_mean_nothing_are_told_but_not_all_of_many() {
        let misspelt = "browsers=x&".repeat(500);
        let refused = read("/analytics/summary", &misspelt).unwrap_err();
        assert_eq!(refused.len(), MAX_TOLD);
        for query in ["", "&&", "workspace=x"] {
            read("/analytics/summary", query).unwrap();
        }
    }

    #[test]
    fn bad_values_are_all_told_at_once() {
        let refused = read("/analytics/breakdown", "limit=ten&tz=UTC&tz=UTC&x=1").unwrap_err();
        let fields: Vec<&str> = refused.iter().map(|(field, _)| &**field).collect();
        assert_eq!(fields, ["tz", "x", "dimension", "limit"]);
        let refused = read("/analytics/breakdown", "").unwrap_err();
        assert_eq!(refused, [("dimension".to_owned(), "required".to_owned())]);
    }
}
