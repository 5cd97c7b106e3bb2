use super::*;

fn toks(text: &str) -> Vec<(Tok, &str)> {
    let mut lexer = Lexer::new(text.as_bytes(), LexMode::default());
    let mut out = Vec::new();
    loop {
        let t = lexer.next_token();
        if t.tok == Tok::End {
            return out;
        }
        out.push((t.tok, &text[t.start as usize..t.end as usize]));
        if t.tok == Tok::Bad {
            return out;
        }
    }
}

fn kinds(text: &str) -> Vec<Tok> {
    toks(text).into_iter().map(|t| t.0).collect()
}

#[test]
fn numbers_and_words_that_start_with_digits() {
    assert_eq!(
        toks("1 1.5 .5 1. 1e5 1.e5 1E+3 1.5e-3"),
        vec![
            (Tok::Integer, "1"),
            (Tok::Decimal, "1.5"),
            (Tok::Decimal, ".5"),
            (Tok::Decimal, "1."),
            (Tok::Float, "1e5"),
            (Tok::Float, "1.e5"),
            (Tok::Float, "1E+3"),
            (Tok::Float, "1.5e-3"),
        ]
    );
    assert_eq!(
        toks("1a 2e 0x 0xG 0x1f 0b01 0b2 0X41"),
        vec![
            (Tok::Word, "1a"),
            (Tok::Word, "2e"),
            (Tok::Word, "0x"),
            (Tok::Word, "0xG"),
            (Tok::Hex, "0x1f"),
            (Tok::Bits, "0b01"),
            (Tok::Word, "0b2"),
            (Tok::Word, "0X41"),
        ]
    );
    assert_eq!(toks("t.1e5"), vec![(Tok::Word, "t"), (Tok::Dot, "."), (Tok::Word, "1e5")]);
}

#[test]
fn comments_of_every_form() {
    assert_eq!(
        toks("1 -- x\n2 # y\n3 /* z */ 4 --5"),
        vec![
            (Tok::Integer, "1"),
            (Tok::Integer, "2"),
            (Tok::Integer, "3"),
            (Tok::Integer, "4"),
            (Tok::Minus, "-"),
            (Tok::Minus, "-"),
            (Tok::Integer, "5"),
        ]
    );
    assert_eq!(
        kinds("/*! 1 */ /*!40101 2 */ /*!80041 3 */ /*!100100 4 /* n */ 5 */ /*+ hint */ 6 /*M!100 7*/"),
        vec![Tok::Integer, Tok::Integer, Tok::Integer]
    );
    assert_eq!(kinds("1 /* open"), vec![Tok::Integer, Tok::Bad]);
    assert_eq!(kinds("/*! 1"), vec![Tok::Integer, Tok::Bad]);
    assert_eq!(kinds("1 --"), vec![Tok::Integer]);
}

#[test]
fn strings_join_and_decode() {
    let text = r#"'a\n' "b""c" /* x */ 'd''e' 1"#;
    let got = toks(text);
    assert_eq!(got[0].0, Tok::Str);
    assert_eq!(got[1].0, Tok::Integer);
    let value = decode_string(got[0].1.as_bytes(), false, LexMode::default());
    assert_eq!(value, b"a\nb\"cd'e");
    assert_eq!(decode_string(br"'\%\_\\\Z\0\q'", false, LexMode::default()), b"\\%\\_\\\x1a\0q");
    let plain_mode = LexMode {
        no_backslash_escapes: true,
        ..LexMode::default()
    };
    assert_eq!(decode_string(br"'a\'", true, plain_mode), br"a\");
    assert_eq!(Lexer::new(br"'a\' 1", plain_mode).next_token().end, 4);
}

#[test]
fn hexadecimal_and_bits() {
    assert_eq!(decode_hex(b"x'4142'"), b"AB");
    assert_eq!(decode_hex(b"0x141"), b"\x01A");
    assert_eq!(decode_bits(b"b'100000001'"), [1, 1]);
    assert_eq!(decode_bits(b"0b11"), [3]);
    assert_eq!(kinds("x'123'"), vec![Tok::Bad]);
}

#[test]
fn operators_and_variables() {
    use Tok::*;
    assert_eq!(
        kinds(":= <=> -> ->> || && << >> <> != <= >= @@ @a.b @`x``y` @'z' ?"),
        vec![
            Assign, NullEq, Arrow, LongArrow, PipePipe, AmpAmp, Shl, Shr, Ne, Ne, Le, Ge, AtAt, AtName, AtName, AtName, Param
        ]
    );
}

#[test]
fn function_names_need_their_parenthesis_at_once() {
    let first = |text: &str, mode: LexMode| Lexer::new(text.as_bytes(), mode).next_token();
    assert!(first("count(", LexMode::default()).call);
    assert!(!first("count (", LexMode::default()).call);
    let ignore = LexMode {
        ignore_space: true,
        ..LexMode::default()
    };
    assert!(first("count (", ignore).call);
    assert_eq!(first("key.x", LexMode::default()).kw, Kw::None);
}

#[test]
fn bytes_that_are_no_utf8_are_legal_in_strings_and_words() {
    let mut lexer = Lexer::new(b"'\xff\xfe' \xe9t\xe9", LexMode::default());
    assert_eq!(lexer.next_token().tok, Tok::Str);
    assert_eq!(lexer.next_token().tok, Tok::Word);
    assert_eq!(lexer.next_token().tok, Tok::End);
}
