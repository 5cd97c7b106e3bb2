//! Order by the Unicode Collation Algorithm.
//!
//! Promises: the ASCII path gives the very order of the full algorithm (its table is made from it). Must not know: names of collations.

use std::cmp::Ordering;
use std::sync::OnceLock;

use icu_collator::options::{CollatorOptions, Strength as IcuStrength};
use icu_collator::{Collator, CollatorBorrowed, CollatorPreferences};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    Primary,
    Secondary,
    Tertiary,
}

fn make(strength: IcuStrength) -> Option<CollatorBorrowed<'static>> {
    let mut options = CollatorOptions::default();
    options.strength = Some(strength);
    Collator::try_new(CollatorPreferences::default(), options).ok()
}

/// The collator of a strength. The root order is compiled in, so there always is one.
fn collator(strength: Strength) -> Option<&'static CollatorBorrowed<'static>> {
    static PRIMARY: OnceLock<Option<CollatorBorrowed<'static>>> = OnceLock::new();
    static SECONDARY: OnceLock<Option<CollatorBorrowed<'static>>> = OnceLock::new();
    static TERTIARY: OnceLock<Option<CollatorBorrowed<'static>>> = OnceLock::new();
    match strength {
        Strength::Primary => PRIMARY.get_or_init(|| make(IcuStrength::Primary)),
        Strength::Secondary => SECONDARY.get_or_init(|| make(IcuStrength::Secondary)),
        Strength::Tertiary => TERTIARY.get_or_init(|| make(IcuStrength::Tertiary)),
    }
    .as_ref()
}

/// Rank of each ASCII character among the letters' level; 0: ignored (control characters).
fn ranks() -> &'static [u8; 128] {
    static RANKS: OnceLock<[u8; 128]> = OnceLock::new();
    RANKS.get_or_init(|| {
        let mut ranks = [0u8; 128];
        let Some(collator) = collator(Strength::Primary) else {
            return std::array::from_fn(|i| (i as u8).to_ascii_lowercase());
        };
        let texts: Vec<String> = (0u8..128).map(|b| (b as char).to_string()).collect();
        let mut order: Vec<usize> = (0..128).collect();
        order.sort_by(|a, b| collator.compare(&texts[*a], &texts[*b]));
        let mut rank = 0;
        for (at, index) in order.iter().enumerate() {
            let before = if at == 0 { "" } else { texts[order[at - 1]].as_str() };
            rank += u8::from(collator.compare(before, &texts[*index]).is_ne());
            ranks[*index] = rank;
        }
        ranks
    })
}

pub fn compare(strength: Strength, left: &str, right: &str) -> Ordering {
    if left.is_ascii() && right.is_ascii() {
        return compare_ascii(strength, left.as_bytes(), right.as_bytes());
    }
    match collator(strength) {
        Some(collator) => collator.compare(left, right),
        None => left.cmp(right),
    }
}

fn compare_ascii(strength: Strength, left: &[u8], right: &[u8]) -> Ordering {
    let ranks = ranks();
    let next = |text: &[u8], at: &mut usize| -> u8 {
        while let Some(byte) = text.get(*at) {
            *at += 1;
            let rank = ranks[usize::from(*byte & 0x7f)];
            if rank != 0 {
                return rank;
            }
        }
        0
    };
    let (mut i, mut j) = (0, 0);
    loop {
        let (a, b) = (next(left, &mut i), next(right, &mut j));
        if a != b {
            return a.cmp(&b);
        }
        if a == 0 {
            break;
        }
    }
    if strength != Strength::Tertiary {
        return Ordering::Equal;
    }
    // same letters: small ones come first
    let case = |text: &'_ [u8]| -> Vec<bool> {
        text.iter()
            .filter(|b| ranks[usize::from(**b & 0x7f)] != 0)
            .map(u8::is_ascii_uppercase)
            .collect()
    };
    if left == right {
        Ordering::Equal
    } else {
        case(left).cmp(&case(right))
    }
}

pub fn sort_key(strength: Strength, text: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(text.len() + 8);
    if let Some(collator) = collator(strength) {
        // writing to a Vec cannot fail
        let Ok(()) = collator.write_sort_key_to(text, &mut key);
    } else {
        key.extend_from_slice(text.as_bytes());
    }
    key
}
