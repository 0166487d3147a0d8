//! Distinct visitors: exact up to some thousand, estimated from then on.
//!
//! Estimated by `HyperLogLog` (Flajolet, Fusy, Gandouet, Meunier 2007) with the improved estimator of
//! Ertl, "New cardinality estimation algorithms for `HyperLogLog` sketches" (arXiv:1702.01284,
//! algorithm 6): no table of corrections, and no range in which it is biased. With 2^14 registers its
//! standard error is 0.81 %, and so 95 of 100 figures are within 1.6 %.

/// Bits of a hash that choose its register.
const PRECISION: u32 = 14;
const REGISTERS: usize = 1 << PRECISION;
/// The largest value of a register.
const LONGEST: usize = 64 - PRECISION as usize + 1;
/// Up to so many visitors are counted exactly.
pub(crate) const EXACT: usize = 2_048;

/// A set of visitor hashes.
#[derive(Clone, Debug)]
pub(crate) enum Visitors {
    Exact(HashTable),
    Estimated(Box<[u8; REGISTERS]>),
}

impl Default for Visitors {
    fn default() -> Self {
        Self::Exact(HashTable::default())
    }
}

impl Visitors {
    /// Adds a visitor. The hash must be uniformly distributed, as a keyed hash is.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64) {
        match self {
            Self::Estimated(registers) => register(registers, hash),
            Self::Exact(table) => {
                table.insert(hash);
                if table.len > EXACT {
                    self.estimate_from_now_on();
                }
            }
        }
    }

    /// Makes room for so many more at once.
    pub(crate) fn expect(&mut self, visitors: u64) {
        if let Self::Exact(table) = self {
            let more = usize::try_from(visitors).unwrap_or(usize::MAX).min(EXACT);
            table.grow_to((table.len + more).min(EXACT) * 2);
        }
    }

    /// Adds visitors, with room for as many as hashes made at once.
    pub(crate) fn insert_all(&mut self, hashes: &[u64]) {
        self.expect(hashes.len() as u64);
        let mut rest = hashes.iter();
        while let Self::Exact(_) = self {
            match rest.next() {
                None => return,
                Some(hash) => self.insert(*hash),
            }
        }
        if let Self::Estimated(registers) = self {
            for hash in rest {
                register(registers, *hash);
            }
        }
    }

    /// Adds the visitors of those rows whose mark is 1, not 0.
    pub(crate) fn insert_marked(&mut self, hashes: &[u64], marks: &[u8]) {
        let mut rows = hashes.iter().zip(marks);
        while let Self::Exact(_) = self {
            match rows.next() {
                None => return,
                Some((_, 0)) => {}
                Some((hash, _)) => self.insert(*hash),
            }
        }
        if let Self::Estimated(registers) = self {
            // A jump that nobody can foresee takes longer than looking at a row that does not count.
            for (hash, mark) in rows {
                raise(registers, *hash, *mark);
            }
        }
    }

    /// Adds all visitors of another set.
    pub(crate) fn merge(&mut self, mut other: Self) {
        // The larger one stays: usually one of them is empty.
        if let (Self::Exact(mine), Self::Exact(theirs)) = (&*self, &other)
            && mine.len < theirs.len
        {
            std::mem::swap(self, &mut other);
        }
        match &other {
            Self::Exact(table) => table.hashes().for_each(|hash| self.insert(hash)),
            Self::Estimated(theirs) => {
                self.estimate_from_now_on();
                if let Self::Estimated(mine) = self {
                    for (mine, theirs) in mine.iter_mut().zip(theirs.iter()) {
                        *mine = (*mine).max(*theirs);
                    }
                }
            }
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::Exact(table) => table.len as u64,
            Self::Estimated(registers) => estimate(registers),
        }
    }

    fn estimate_from_now_on(&mut self) {
        if let Self::Exact(table) = self {
            let mut registers = Box::new([0; REGISTERS]);
            table
                .hashes()
                .for_each(|hash| register(&mut registers, hash));
            *self = Self::Estimated(registers);
        }
    }
}

#[inline]
fn register(registers: &mut [u8; REGISTERS], hash: u64) {
    raise(registers, hash, 1);
}

/// Notes a hash if `mark` is 1, and nothing if it is 0.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the index has 14 bits and the run of zeros at most 51"
)]
fn raise(registers: &mut [u8; REGISTERS], hash: u64, mark: u8) {
    let index = (hash >> (64 - PRECISION)) as usize;
    let zeros = (hash << PRECISION | 1 << (PRECISION - 1)).leading_zeros() as u8;
    let register = &mut registers[index];
    *register = (*register).max((zeros + 1) * mark);
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate is positive, and rounded anyway"
)]
fn estimate(registers: &[u8; REGISTERS]) -> u64 {
    const SCALE: f64 = 0.5 / std::f64::consts::LN_2;
    let counts = counts_of(registers);
    let all = REGISTERS as f64;
    let share = |value: usize| f64::from(counts[value]) / all;
    let mut z = all * tau(1.0 - share(LONGEST));
    for count in counts[1..LONGEST].iter().rev() {
        z = 0.5 * (z + f64::from(*count));
    }
    z += all * sigma(share(0));
    (SCALE * all * all / z).round() as u64
}

/// How many registers have each value. Neighbours often have the same: counted in one table, each would
/// wait for the one before.
fn counts_of(registers: &[u8; REGISTERS]) -> [u32; LONGEST + 1] {
    let mut tables = [[0_u32; LONGEST + 1]; 4];
    for values in registers.chunks_exact(tables.len()) {
        for (table, value) in tables.iter_mut().zip(values) {
            table[usize::from(*value)] += 1;
        }
    }
    std::array::from_fn(|value| tables.iter().map(|table| table[value]).sum())
}

/// Of registers that no hash has reached.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z <= before {
            return z;
        }
    }
}

/// Of registers that cannot grow any more.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z >= before {
            return z / 3.0;
        }
    }
}

/// Hashes that are spread well already: where one belongs, it says itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct HashTable {
    /// 0 is an empty place; at most half of the places are taken.
    places: Vec<u64>,
    len: usize,
}

impl HashTable {
    fn insert(&mut self, hash: u64) {
        // One of 2^64 hashes shares its place with another.
        let hash = hash.max(1);
        if self.len * 2 >= self.places.len() {
            self.grow_to(self.places.len() * 2);
        }
        self.put(hash);
    }

    #[expect(clippy::cast_possible_truncation, reason = "masked")]
    fn put(&mut self, hash: u64) {
        let mask = self.places.len() - 1;
        let mut place = hash as usize & mask;
        while self.places[place] != 0 {
            if self.places[place] == hash {
                return;
            }
            place = (place + 1) & mask;
        }
        self.places[place] = hash;
        self.len += 1;
    }

    fn grow_to(&mut self, places: usize) {
        let places = places.next_power_of_two().max(8);
        if places <= self.places.len() {
            return;
        }
        let old = std::mem::replace(&mut self.places, vec![0; places]);
        self.len = 0;
        for hash in old.into_iter().filter(|hash| *hash != 0) {
            self.put(hash);
        }
    }

    fn hashes(&self) -> impl Iterator<Item = u64> {
        self.places.iter().copied().filter(|hash| *hash != 0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    #[test]
    fn few_visitors_are_counted_exactly() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut visitors = Visitors::default();
        for count in 1..=EXACT as u64 {
            let hash = random.next_u64();
            visitors.insert(hash);
            visitors.insert(hash);
            assert_eq!(visitors.count(), count);
        }
    }

    #[test]
    fn ninety_five_of_a_hundred_estimates_are_within_two_percent() {
        for (visitors, trials) in [(3_000_u64, 200), (50_000, 100), (300_000, 20)] {
            let close = (0..trials)
                .filter(|trial| {
                    let mut random = ChaCha8Rng::seed_from_u64(visitors + trial);
                    let mut set = Visitors::default();
                    (0..visitors).for_each(|_| set.insert(random.next_u64()));
                    set.count().abs_diff(visitors) * 50 < visitors
                })
                .count();
            assert!(
                close as u64 * 100 >= trials * 95,
                "{visitors}: {close} of {trials}"
            );
        }
    }

    proptest! {
        #[test]
        fn marked_rows_count_and_others_do_not(rows in prop::collection::vec((any::<u64>(), 0..2_u8), 0..6_000)) {
            let (hashes, marks): (Vec<u64>, Vec<u8>) = rows.iter().copied().unzip();
            let (mut at_once, mut one_by_one) = (Visitors::default(), Visitors::default());
            at_once.insert_marked(&hashes, &marks);
            for (hash, _) in rows.iter().filter(|(_, mark)| *mark == 1) {
                one_by_one.insert(*hash);
            }
            prop_assert_eq!(at_once.count(), one_by_one.count());
        }

        #[test]
        fn sets_merged_in_any_way_count_like_one(hashes in prop::collection::vec(any::<u64>(), 0..6_000), cut in 0..6_000_usize) {
            let cut = cut.min(hashes.len());
            let set_of = |hashes: &[u64]| {
                let mut set = Visitors::default();
                for hash in hashes {
                    set.insert(*hash);
                }
                set
            };
            let (mut left, mut right) = (set_of(&hashes[..cut]), set_of(&hashes[cut..]));
            let whole = set_of(&hashes).count();
            let swapped = { let mut right = right.clone(); right.merge(left.clone()); right.count() };
            left.merge(right.clone());
            right.merge(left.clone());
            prop_assert_eq!((left.count(), right.count(), swapped), (whole, whole, whole));
            if hashes.len() <= EXACT {
                let distinct: HashSet<_> = hashes.iter().map(|hash| (*hash).max(1)).collect();
                prop_assert_eq!(whole, distinct.len() as u64);
            }
        }
    }
}
