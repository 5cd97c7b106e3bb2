//! Collations that weigh each character alone: `general_ci`, and the latin1 and ascii ones.
//!
//! Promises: weights depend on nothing but the character. Must not know: padding (the caller cuts trailing spaces).

use std::cmp::Ordering;

use icu_normalizer::properties::{CanonicalDecomposition, Decomposed};

pub fn compare(weight: fn(char) -> u32, left: &str, right: &str) -> Ordering {
    left.chars().map(weight).cmp(right.chars().map(weight))
}

pub fn sort_key(weight: fn(char) -> u32, text: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(text.len() * 2);
    for c in text.chars() {
        // weights lie in the BMP
        key.extend_from_slice(&(weight(c) as u16).to_be_bytes());
    }
    key
}

fn upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// `utf8mb4_general_ci`: the capital letter without accents; everything beyond the BMP is the same.
pub fn general(c: char) -> u32 {
    if c.is_ascii() {
        return u32::from(c.to_ascii_uppercase());
    }
    match c {
        'ß' => return u32::from('S'),
        'µ' => return 0x039C,
        'ϲ' => return u32::from('Σ'),
        // the one accented letter that counts as a letter of its own
        'й' | 'Й' => return u32::from('Й'),
        '\u{10000}'.. => return 0xFFFD,
        _ if is_young(c) => return u32::from(c),
        _ => {}
    }
    let base = upper(base_letter(upper(c)));
    if u32::from(base) > 0xFFFF { 0xFFFD } else { u32::from(base) }
}

/// Letters whose capitals are younger than the tables of `general_ci` (Unicode 3): each is itself alone.
fn is_young(c: char) -> bool {
    matches!(
        u32::from(c),
        0x0180 | 0x019A | 0x019B | 0x019E | 0x0234..=0x0252 | 0x025C | 0x0261 | 0x0264..=0x0266 | 0x026A..=0x026C | 0x0271 | 0x027D
            | 0x0282 | 0x0287 | 0x0289 | 0x028C | 0x0293..=0x02AF | 0x0370..=0x037F | 0x03D7..=0x03D9 | 0x03F3..=0x03FF | 0x048A | 0x048B
            | 0x04C5 | 0x04C6 | 0x04C9 | 0x04CA | 0x04CD..=0x04CF | 0x04F6 | 0x04F7 | 0x04FA..=0x052F | 0x10D0..=0x10FF | 0x13F8..=0x13FD
            | 0x1C80..=0x1DBF | 0x1EFA..=0x1EFF | 0x214E | 0x2184 | 0x2C00..=0x2DFF | 0xA600..=0xABFF
    )
}

/// The letter under its accents, for the scripts whose accents `general_ci` ignores.
fn base_letter(c: char) -> char {
    let accents_count = matches!(c, '\u{00C0}'..='\u{024F}' | '\u{0386}'..='\u{03FF}' | '\u{0400}'..='\u{052F}' | '\u{1E00}'..='\u{1FFF}');
    if !accents_count {
        return c;
    }
    let decomposition = CanonicalDecomposition::new();
    let mut base = c;
    // a letter may carry several accents, taken off one by one; an accent standing alone is no letter
    while let Decomposed::Expansion(first, _) = decomposition.decompose(base) {
        if !first.is_alphabetic() {
            return c;
        }
        base = first;
    }
    base
}

/// `latin1_swedish_ci`
pub fn swedish(c: char) -> u32 {
    match c {
        _ if c.is_ascii() => u32::from(c.to_ascii_uppercase()),
        'À'..='Ã' | 'à'..='ã' => u32::from('A'),
        'Å' | 'å' => 0x5B,
        'Ä' | 'Æ' | 'ä' | 'æ' => 0x5C,
        'Ö' | 'ö' => 0x5D,
        'Ç' | 'ç' => u32::from('C'),
        'È'..='Ë' | 'è'..='ë' => u32::from('E'),
        'Ì'..='Ï' | 'ì'..='ï' => u32::from('I'),
        'Ð' | 'ð' => u32::from('D'),
        'Ñ' | 'ñ' => u32::from('N'),
        'Ò'..='Õ' | 'ò'..='õ' => u32::from('O'),
        'Ù'..='Û' | 'ù'..='û' => u32::from('U'),
        'Ü' | 'ü' | 'Ý' | 'ý' => u32::from('Y'),
        'Ø' | 'ø' => u32::from('Ø'),
        'Þ' | 'þ' => u32::from('Þ'),
        _ => u32::from(c).min(0xFFFF),
    }
}

/// `latin1_general_ci`: accented letters behind their base letter, case ignored.
pub fn latin1_general(c: char) -> u32 {
    let c = if c == 'ÿ' { c } else { upper(c) };
    let base = base_letter(c);
    // room for the accents of one letter between two letters
    let place = |letter: char, offset: u32| u32::from(letter.to_ascii_uppercase()) * 0x40 + offset;
    match c {
        _ if c.is_ascii() => place(c, 0),
        'Æ' => place('A', 0x3F),
        'Ð' => place('D', 0x3F),
        'Ø' => place('O', 0x3F),
        'ÿ' => place('Y', 0x3F),
        'Þ' => place('Z', 0x3F),
        'ß' => place('S', 0x3F),
        _ if base.is_ascii_alphabetic() && u32::from(c) <= 0xFF => place(base, u32::from(c) - 0xBF),
        _ => (0x2000 + u32::from(c)).min(0xFFFF),
    }
}

/// `ascii_general_ci`
pub fn ascii(c: char) -> u32 {
    u32::from(c.to_ascii_uppercase()).min(0xFFFF)
}
