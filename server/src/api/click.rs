//! One click as the API shows it: members and columns come from the table of facts.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Value;
use terse_core::analytics::{Position, RecordedClick};
use terse_core::model::Fact;

/// What every click has beside its facts: names, and what they are.
const OWN: [(&str, &str); 5] = [
    (
        "id",
        "Opaque, unique, and the same wherever the click is shown",
    ),
    ("at", "When it happened"),
    ("link_id", "The link that was followed"),
    ("kind", "`human`, `bot` or `preview`"),
    ("reason", "Why it is of this kind"),
];

/// A click, for people and programs.
#[derive(Clone, Debug)]
pub(crate) struct Click(pub(crate) RecordedClick);

impl Click {
    /// The names of all members, in their order.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        let own = OWN.into_iter().map(|(name, _)| name);
        own.chain(Fact::ALL.into_iter().map(Fact::name))
    }

    /// The values of all members, in the same order.
    pub(crate) fn values(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let click = &self.0;
        let own: [Cow<'_, str>; OWN.len()] = [
            id(click.position).into(),
            click.at().to_string().into(),
            click.link.to_string().into(),
            click.kind.as_str().into(),
            click.reason.as_str().into(),
        ];
        let facts = Fact::ALL.into_iter();
        let facts = facts.map(|fact| fact.shown(click.fact(fact)).into());
        own.into_iter().chain(facts)
    }
}

/// Where a click is among all, as text.
fn id(position: Position) -> String {
    let numbers = [position.at.as_millis(), position.stream, position.seq];
    URL_SAFE_NO_PAD.encode(numbers.map(i64::to_be_bytes).concat())
}

impl Serialize for Click {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        for (name, value) in Self::names().zip(self.values()) {
            members.serialize_entry(name, &value)?;
        }
        members.end()
    }
}

fn schema(about: &'static str, is_time: bool) -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(MetaSchema {
        format: is_time.then_some("date-time"),
        description: Some(about),
        ..MetaSchema::new("string")
    }))
}

impl Type for Click {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "Click".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Reference(Self::name().into_owned())
    }

    fn register(registry: &mut Registry) {
        registry.create_schema::<Self, _>(Self::name().into_owned(), |_| {
            let own = OWN.map(|(name, about)| (name, schema(about, name == "at")));
            let facts = Fact::ALL.map(|fact| (fact.name(), schema(fact.about(), false)));
            MetaSchema {
                description: Some("One click. A fact that it lacks is shown as `(none)`"),
                required: Self::names().collect(),
                properties: own.into_iter().chain(facts).collect(),
                ..MetaSchema::new("object")
            }
        });
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ToJSON for Click {
    fn to_json(&self) -> Option<Value> {
        serde_json::to_value(self).ok()
    }
}

impl ParseFromJSON for Click {
    fn parse_from_json(_: Option<Value>) -> ParseResult<Self> {
        Err(ParseError::custom("is only ever shown"))
    }
}
