//! One record of a place file, in any of the forms in which such files come; nothing of it is copied.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::place::Place;

/// The members of a record that say where an address is. MaxMind's own files have maps with a
/// code and names there, flat ones have texts.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Record<'a> {
    #[serde(borrow)]
    country: Member<'a>,
    #[serde(borrow)]
    country_code: Member<'a>,
    #[serde(borrow)]
    subdivisions: Member<'a>,
    #[serde(borrow)]
    region_code: Member<'a>,
    #[serde(borrow)]
    city: Member<'a>,
}

impl<'a> Record<'a> {
    pub(super) fn place(&self) -> Place<'a> {
        let country = [
            self.country.iso_code,
            self.country_code.text,
            self.country.text,
        ];
        let region = [self.subdivisions.iso_code, self.region_code.text];
        let city = [self.city.english, self.city.text];
        Place::new(first(&country), first(&region), first(&city))
    }
}

fn first<'a>(texts: &[&'a str]) -> &'a str {
    texts
        .iter()
        .find(|text| !text.is_empty())
        .copied()
        .unwrap_or_default()
}

/// What a member of a record says: of a text, itself; of a map, its code and its English name; of a
/// list, what its first element says. Anything else says nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Member<'a> {
    text: &'a str,
    iso_code: &'a str,
    english: &'a str,
}

impl<'de: 'a, 'a> Deserialize<'de> for Member<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MemberVisitor)
    }
}

struct MemberVisitor;

impl<'de> Visitor<'de> for MemberVisitor {
    type Value = Member<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a member of a record")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Member {
            text,
            ..Member::default()
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut member = Member::default();
        while let Some(key) = map.next_key::<&'de str>()? {
            match key {
                "iso_code" => member.iso_code = map.next_value::<Member<'de>>()?.text,
                "en" => member.english = map.next_value::<Member<'de>>()?.text,
                "names" => member.english = map.next_value::<Member<'de>>()?.english,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(member)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let first = list.next_element()?.unwrap_or_default();
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(first)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Member::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Member::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Member::default())
    }

    fn visit_u128<E>(self, _: u128) -> Result<Self::Value, E> {
        Ok(Member::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Member::default())
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Self::Value, E> {
        Ok(Member::default())
    }
}
