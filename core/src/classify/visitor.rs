//! One browser during one privacy epoch, as a number that leads back to nobody.

use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;

/// A keyed hash (SipHash-2-4, Aumasson and Bernstein 2012) of workspace, address and user agent.
/// An IPv4 address counts the same when it comes as IPv6.
pub fn visitor_hash(salt: &[u8; 16], workspace: i64, client: IpAddr, user_agent: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new_with_key(salt);
    hasher.write(&workspace.to_le_bytes());
    match client.to_canonical() {
        IpAddr::V4(address) => hasher.write(&address.octets()),
        IpAddr::V6(address) => hasher.write(&address.octets()),
    }
    hasher.write(user_agent);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visitor_is_one_per_salt_workspace_address_and_agent() {
        let v4: IpAddr = "192.0.2.7".parse().unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.7".parse().unwrap();
        let other: IpAddr = "192.0.2.8".parse().unwrap();
        let hash = visitor_hash(&[1; 16], 5, v4, b"agent");
        assert_eq!(visitor_hash(&[1; 16], 5, mapped, b"agent"), hash);
        for different in [
            visitor_hash(&[2; 16], 5, v4, b"agent"),
            visitor_hash(&[1; 16], 6, v4, b"agent"),
            visitor_hash(&[1; 16], 5, other, b"agent"),
            visitor_hash(&[1; 16], 5, v4, b"agent2"),
        ] {
            assert_ne!(different, hash);
        }
    }
}
