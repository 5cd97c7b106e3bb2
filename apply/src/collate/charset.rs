//! Character sets: their names, sizes and defaults, and which characters they have. Text is stored as UTF-8 in any case.

/// A row of SHOW CHARACTER SET.
#[derive(Debug)]
pub struct Charset {
    pub name: &'static str,
    pub description: &'static str,
    pub default_collation: &'static str,
    /// Bytes of its longest character.
    pub maxlen: u8,
}

const fn row(name: &'static str, description: &'static str, default_collation: &'static str, maxlen: u8) -> Charset {
    Charset {
        name,
        description,
        default_collation,
        maxlen,
    }
}

pub const CHARSETS: &[Charset] = &[
    row("ascii", "US ASCII", "ascii_general_ci", 1),
    row("binary", "Binary pseudo charset", "binary", 1),
    row("latin1", "cp1252 West European", "latin1_swedish_ci", 1),
    row("utf8mb3", "UTF-8 Unicode", "utf8mb3_general_ci", 3),
    row("utf8mb4", "UTF-8 Unicode", "utf8mb4_0900_ai_ci", 4),
];

/// A charset by name, in any case; `utf8` is `utf8mb3`.
pub fn charset_info(name: &str) -> Option<&'static Charset> {
    let name = if name.eq_ignore_ascii_case("utf8") { "utf8mb3" } else { name };
    CHARSETS.iter().find(|c| c.name.eq_ignore_ascii_case(name))
}

/// The charset that a collation's name begins with.
pub fn charset_of(collation: &str) -> &str {
    match collation.split('_').next().unwrap_or(collation) {
        "utf8" => "utf8mb3",
        charset => charset,
    }
}

/// Does the charset have this character?
pub fn has_character(charset: &str, c: char) -> bool {
    match charset {
        "ascii" => c.is_ascii(),
        "latin1" => {
            u32::from(c) <= 0xFF
                || matches!(
                    c,
                    '€' | '‚'
                        | 'ƒ'
                        | '„'
                        | '…'
                        | '†'
                        | '‡'
                        | 'ˆ'
                        | '‰'
                        | 'Š'
                        | '‹'
                        | 'Œ'
                        | 'Ž'
                        | '‘'
                        | '’'
                        | '“'
                        | '”'
                        | '•'
                        | '–'
                        | '—'
                        | '˜'
                        | '™'
                        | 'š'
                        | '›'
                        | 'œ'
                        | 'ž'
                        | 'Ÿ'
                )
        }
        "utf8mb3" => u32::from(c) <= 0xFFFF,
        _ => true,
    }
}
