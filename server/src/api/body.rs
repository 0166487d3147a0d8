//! JSON bodies, checked against their own schema so that every misfit is named.

use poem::{FromRequest, Request, RequestBody};
use poem_openapi::payload::{Json, ParsePayload, Payload};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::{ParseFromJSON, Type};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde_json::{Map, Value};

use crate::problem::{Problem, RefusedField};

/// The JSON object of a request. Unlike the framework's own, it names each member that is unknown,
/// missing or of another type, takes no number for a text, and repeats nothing of what was sent.
pub(crate) struct Body<T>(pub(crate) T);

impl<'a, T: ParseFromJSON + Type> ApiExtractor<'a> for Body<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <Json<T> as Payload>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType {
                content_type: Json::<T>::CONTENT_TYPE,
                schema: Json::<T>::schema_ref(),
            }],
            required: <Json<T> as ParsePayload>::IS_REQUIRED,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        if !request
            .content_type()
            .is_some_and(Json::<T>::check_content_type)
        {
            return Err(Problem::of_status(http::StatusCode::UNSUPPORTED_MEDIA_TYPE).into());
        }
        let bytes = <Vec<u8> as FromRequest>::from_request(request, body).await?;
        Ok(Self(read(&bytes)?))
    }
}

fn read<T: ParseFromJSON + Type>(bytes: &[u8]) -> Result<T, Problem> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| {
        Problem::malformed(format!(
            "The body is not JSON: line {}, column {}.",
            error.line(),
            error.column()
        ))
    })?;
    let Value::Object(members) = &value else {
        return Err(Problem::malformed("The body must be a JSON object."));
    };
    let misfits = misfits(&schema::<T>(), members);
    if !misfits.is_empty() {
        return Err(Problem::refused(misfits));
    }
    T::parse_from_json(Some(value))
        .map_err(|_| Problem::malformed("The body is not as the document describes it."))
}

fn schema<T: Type>() -> MetaSchema {
    let mut registry = Registry::new();
    T::register(&mut registry);
    registry
        .schemas
        .remove(&*T::name())
        .unwrap_or(MetaSchema::ANY)
}

fn misfits(schema: &MetaSchema, members: &Map<String, Value>) -> Vec<RefusedField> {
    let property = |name: &str| schema.properties.iter().find(|(known, _)| *known == name);
    let present = members
        .iter()
        .filter_map(|(name, value)| match property(name) {
            None => Some(RefusedField::new(
                name,
                "field_unknown",
                "is not a field of this",
            )),
            Some((_, MetaSchemaRef::Inline(schema))) => {
                misfit(schema, value).map(|why| RefusedField::new(name, "type_invalid", why))
            }
            Some(_) => None,
        });
    let missing = schema
        .required
        .iter()
        .filter(|name| !members.contains_key(**name))
        .map(|name| RefusedField::new(name, "required", "must be given"));
    present.chain(missing).collect()
}

/// Why a value is not of its schema's type.
fn misfit(schema: &MetaSchema, value: &Value) -> Option<&'static str> {
    let small = schema.format == Some("uint16");
    let (fits, otherwise) = match schema.ty {
        _ if value.is_null() => (schema.nullable, "must not be null"),
        "string" => (value.is_string(), "must be a text"),
        "boolean" => (value.is_boolean(), "must be true or false"),
        "integer" if small => (
            value
                .as_u64()
                .is_some_and(|number| u16::try_from(number).is_ok()),
            "must be a whole number from 0 to 65535",
        ),
        "integer" => (value.is_i64(), "must be a whole number"),
        "array" => (
            value
                .as_array()
                .is_some_and(|items| items.iter().all(Value::is_string)),
            "must be a list of texts",
        ),
        _ => (true, ""),
    };
    (!fits).then_some(otherwise)
}
