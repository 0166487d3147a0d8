//! Writes files in MaxMind's format (<https://maxmind.github.io/MaxMind-DB/>), as small as tests need them.

use std::net::IpAddr;

/// A value of a record.
#[derive(Clone)]
pub(crate) enum Value {
    Text(&'static str),
    Short(u16),
    Number(u32),
    Long(u64),
    Map(Vec<(&'static str, Value)>),
    List(Vec<Value>),
}
use Value::{List, Long, Map, Number, Short, Text};

/// A record as in `GeoLite2-City`.
pub(crate) fn geoip2(country: &'static str, region: &'static str, city: &'static str) -> Value {
    let named = |name| Map(vec![("de", Text("irgendwo")), ("en", Text(name))]);
    Map(vec![
        (
            "city",
            Map(vec![("geoname_id", Number(1)), ("names", named(city))]),
        ),
        (
            "continent",
            Map(vec![("code", Text("EU")), ("names", named("Europe"))]),
        ),
        (
            "country",
            Map(vec![
                ("iso_code", Text(country)),
                ("names", named("a country")),
            ]),
        ),
        (
            "subdivisions",
            List(vec![
                Map(vec![
                    ("iso_code", Text(region)),
                    ("names", named("a region")),
                ]),
                Map(vec![("iso_code", Text("XYZ"))]),
            ]),
        ),
    ])
}

/// A file that knows these networks, IPv4 or IPv6 and none within another.
pub(crate) fn mmdb(networks: &[(&str, Value)]) -> Vec<u8> {
    let mut tree = Tree(vec![[Slot::Nothing; 2]]);
    let mut data = Vec::new();
    for (network, record) in networks {
        tree.insert(network, data.len());
        record.write(&mut data);
    }
    let mut file = tree.bytes();
    file.extend([0; 16]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    Map(vec![
        ("binary_format_major_version", Short(2)),
        ("binary_format_minor_version", Short(0)),
        ("build_epoch", Long(1_767_225_600)),
        ("database_type", Text("Test")),
        ("description", Map(vec![("en", Text("of a test"))])),
        ("ip_version", Short(6)),
        ("languages", List(vec![Text("en")])),
        ("node_count", Number(number(tree.0.len()))),
        ("record_size", Short(24)),
    ])
    .write(&mut file);
    file
}

fn number(len: usize) -> u32 {
    u32::try_from(len).unwrap()
}

#[derive(Clone, Copy)]
enum Slot {
    Nothing,
    Node(usize),
    Record(usize),
}

struct Tree(Vec<[Slot; 2]>);

impl Tree {
    fn insert(&mut self, network: &str, record: usize) {
        let (address, prefix) = network.split_once('/').unwrap();
        let prefix: u32 = prefix.parse().unwrap();
        let (bits, prefix) = match address.parse().unwrap() {
            IpAddr::V4(address) => (u128::from(address.to_bits()), prefix + 96),
            IpAddr::V6(address) => (address.to_bits(), prefix),
        };
        let mut node = 0;
        for depth in 0..prefix {
            let side = usize::from(bits >> (127 - depth) & 1 == 1);
            if depth + 1 == prefix {
                self.0[node][side] = Slot::Record(record);
                return;
            }
            node = if let Slot::Node(next) = self.0[node][side] {
                next
            } else {
                self.0.push([Slot::Nothing; 2]);
                self.0[node][side] = Slot::Node(self.0.len() - 1);
                self.0.len() - 1
            };
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let value = |slot: &Slot| match slot {
            Slot::Nothing => number(self.0.len()),
            Slot::Node(node) => number(*node),
            Slot::Record(offset) => number(self.0.len() + 16 + offset),
        };
        let slots = self.0.iter().flatten();
        slots
            .flat_map(|slot| value(slot).to_be_bytes()[1..].to_vec())
            .collect()
    }
}

impl Value {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Text(text) => {
                head(2, text.len(), out);
                out.extend(text.bytes());
            }
            Short(number) => {
                head(5, 2, out);
                out.extend(number.to_be_bytes());
            }
            Long(number) => {
                head(9, 8, out);
                out.extend(number.to_be_bytes());
            }
            Number(number) => {
                head(6, 4, out);
                out.extend(number.to_be_bytes());
            }
            Map(members) => {
                head(7, members.len(), out);
                for (key, value) in members {
                    Text(key).write(out);
                    value.write(out);
                }
            }
            List(items) => {
                head(11, items.len(), out);
                for item in items {
                    item.write(out);
                }
            }
        }
    }
}

fn head(kind: u8, len: usize, out: &mut Vec<u8>) {
    let len = u8::try_from(len).unwrap();
    let (kind, extended) = if kind > 7 {
        (0, Some(kind - 7))
    } else {
        (kind, None)
    };
    out.push(kind << 5 | len.min(29));
    out.extend(extended);
    if len >= 29 {
        out.push(len - 29);
    }
}
