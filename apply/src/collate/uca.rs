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
    // an equal front decides nothing on any level: no ASCII character changes its neighbour's weight
    let common = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    let (left, right) = (&left[common..], &right[common..]);
    if left.is_empty() && right.is_empty() {
        return Ordering::Equal;
    }
    let ranks = ranks();
    let weight = |b: &u8| Some(ranks[usize::from(*b & 0x7f)]).filter(|r| *r != 0);
    let letters = left.iter().filter_map(weight).cmp(right.iter().filter_map(weight));
    if letters.is_ne() || strength != Strength::Tertiary {
        return letters;
    }
    // same letters: small ones come first
    let weighty = |b: &&u8| ranks[usize::from(**b & 0x7f)] != 0;
    let case = |b: &u8| b.is_ascii_uppercase();
    left.iter().filter(weighty).map(case).cmp(right.iter().filter(weighty).map(case))
}

pub fn sort_key(strength: Strength, text: &str) -> Vec<u8> {
    if strength == Strength::Primary && text.is_ascii() {
        return ascii_key(text.as_bytes());
    }
    full_key(strength, text)
}

/// By the whole algorithm.
pub(super) fn full_key(strength: Strength, text: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(text.len() + 8);
    if let Some(collator) = collator(strength) {
        // writing to a Vec cannot fail
        let Ok(()) = collator.write_sort_key_to(text, &mut key);
    } else {
        key.extend_from_slice(text.as_bytes());
    }
    key
}

/// An ASCII character's part of a primary key.
#[derive(Clone, Copy, Default)]
struct Piece {
    bytes: [u8; 4],
    /// 0: ignored.
    length: u8,
    /// The first byte stands once for a run of characters that share it.
    shares_lead: bool,
}

/// Between two leads where the former was shared: the run ended, and what follows sorts before (or behind) it.
const RUN_ENDS_BELOW: u8 = 0x03;
const RUN_ENDS_ABOVE: u8 = 0xFF;

fn pieces() -> &'static [Piece; 128] {
    static PIECES: OnceLock<[Piece; 128]> = OnceLock::new();
    PIECES.get_or_init(|| {
        std::array::from_fn(|index| {
            let one = (index as u8 as char).to_string();
            let key = full_key(Strength::Primary, &one);
            let mut piece = Piece {
                length: key.len().min(4) as u8,
                shares_lead: full_key(Strength::Primary, &one.repeat(2)).len() < 2 * key.len(),
                ..Piece::default()
            };
            piece.bytes[..key.len().min(4)].copy_from_slice(&key[..key.len().min(4)]);
            piece
        })
    })
}

/// The same bytes as [`full_key`] (a test holds them together), many times faster: keys of rows are made of it.
fn ascii_key(text: &[u8]) -> Vec<u8> {
    let pieces = pieces();
    let mut key = Vec::with_capacity(text.len() + 8);
    let mut run: Option<Piece> = None;
    for byte in text {
        let piece = pieces[usize::from(*byte & 0x7f)];
        let bytes = &piece.bytes[..usize::from(piece.length)];
        let Some((lead, rest)) = bytes.split_first() else { continue };
        let same_run = run.is_some_and(|r| piece.shares_lead && r.bytes[0] == *lead);
        if !same_run {
            if let Some(run) = run {
                key.push(if piece.bytes < run.bytes { RUN_ENDS_BELOW } else { RUN_ENDS_ABOVE });
            }
            key.push(*lead);
            run = Some(piece).filter(|p| p.shares_lead);
        }
        key.extend_from_slice(rest);
    }
    key
}
