//! String functions: the table; what runs stands in [`edit`], [`search`] and [`encode`].
//!
//! Promises: text is counted in characters, byte strings in bytes; searching follows the arguments' collation, `REPLACE` and
//! `SUBSTRING_INDEX` the bytes, as in MySQL.

use starling_apply::collate;

use super::convert::{self, Form, form};
use super::rule;
use super::run::Body;
use super::{Extra, Family, Function, Kind, MANY};
use crate::sql::types::Ty;

mod edit;
mod encode;
pub(super) mod search;

use Kind::*;

const fn row(name: &'static str, args: (u8, u8), params: &'static [Kind], result: fn(&[Ty]) -> Ty, sqlite: &'static str) -> Function {
    Function::new(name, Family::String, args, params, result, sqlite)
}

pub const FUNCTIONS: &[Function] = &[
    row("concat", (1, MANY), &[Text], rule::sum_of_lengths, "starling_concat"),
    row("concat_ws", (2, MANY), &[Text], joined, "starling_concat_ws"),
    row("length", (1, 1), &[Text], rule::int, "starling_length"),
    row("octet_length", (1, 1), &[Text], rule::int, "starling_length"),
    row("bit_length", (1, 1), &[Text], rule::int, "starling_bit_length"),
    row("char_length", (1, 1), &[Text], rule::int, "starling_char_length"),
    row("character_length", (1, 1), &[Text], rule::int, "starling_char_length"),
    row("upper", (1, 1), &[Text], rule::like_first, "starling_upper"),
    row("ucase", (1, 1), &[Text], rule::like_first, "starling_upper"),
    row("lower", (1, 1), &[Text], rule::like_first, "starling_lower"),
    row("lcase", (1, 1), &[Text], rule::like_first, "starling_lower"),
    row("substring", (2, 3), &[Text, Int], like_text, "starling_substring"),
    row("substr", (2, 3), &[Text, Int], like_text, "starling_substring"),
    row("mid", (3, 3), &[Text, Int], like_text, "starling_substring"),
    row("left", (2, 2), &[Text, Int], like_text, "starling_left"),
    row("right", (2, 2), &[Text, Int], like_text, "starling_right"),
    row("trim", (1, 1), &[Text], rule::like_first, "starling_trim"),
    row("trim_both", (2, 2), &[Text], rule::like_first, "starling_trim"),
    row("ltrim", (1, 1), &[Text], rule::like_first, "starling_ltrim"),
    row("trim_leading", (2, 2), &[Text], rule::like_first, "starling_ltrim"),
    row("rtrim", (1, 1), &[Text], rule::like_first, "starling_rtrim"),
    row("trim_trailing", (2, 2), &[Text], rule::like_first, "starling_rtrim"),
    row("lpad", (3, 3), &[Text, Int, Text], padded, "starling_lpad"),
    row("rpad", (3, 3), &[Text, Int, Text], padded, "starling_rpad"),
    row("replace", (3, 3), &[Text], rule::longtext, "starling_replace"),
    row("repeat", (2, 2), &[Text, Int], padded, "starling_repeat"),
    row("space", (1, 1), &[Int], rule::text_nullable::<16383>, "starling_space"),
    row("reverse", (1, 1), &[Text], rule::like_first, "starling_reverse"),
    row("insert", (4, 4), &[Text, Int, Int, Text], both_texts, "starling_insert"),
    row("instr", (2, 2), &[Text], rule::int, "starling_instr").extra(Extra::Collation),
    row("locate", (2, 3), &[Text, Text, Int], rule::int, "starling_locate").custom(locate),
    row("position", (2, 2), &[Text], rule::int, "starling_locate").custom(locate),
    row("field", (2, MANY), &[Compare], rule::bool_not_null, "starling_field").extra(Extra::Compare),
    row("find_in_set", (2, 2), &[Text], rule::int, "starling_find_in_set").extra(Extra::Collation),
    row("elt", (2, MANY), &[Int, Common], element, "starling_elt"),
    row("strcmp", (2, 2), &[Text], rule::int, "starling_strcmp").extra(Extra::Collation),
    row("substring_index", (3, 3), &[Text, Text, Int], like_text, "starling_substring_index"),
    row("make_set", (2, MANY), &[Int, Text], rule::sum_of_lengths, "starling_make_set"),
    row(
        "export_set",
        (3, 5),
        &[Int, Text, Text, Text, Int],
        rule::longtext,
        "starling_export_set",
    ),
    row("hex", (1, 1), &[Any], hexed, "").custom(hex),
    row("unhex", (1, 1), &[Text], rule::binary_of_first, "starling_unhex"),
    row("ascii", (1, 1), &[Text], rule::int, "starling_ascii"),
    row("ord", (1, 1), &[Text], rule::int, "starling_ord"),
    row("char", (1, MANY), &[Int], bytes_of_ints, "starling_char"),
    row("format", (2, 3), &[Number, Int, Text], rule::text_nullable::<90>, "starling_format"),
    row("quote", (1, 1), &[Text], quoted, "starling_quote"),
    row("bin", (1, 1), &[Int], rule::text_nullable::<64>, "starling_bin"),
    row("oct", (1, 1), &[Int], rule::text_nullable::<64>, "starling_oct"),
    row("conv", (3, 3), &[Text, Int, Int], rule::text_nullable::<65>, "starling_conv"),
    row("to_base64", (1, 1), &[Text], rule::longtext, "starling_to_base64"),
    row("from_base64", (1, 1), &[Text], rule::binary_of_first, "starling_from_base64"),
    row("soundex", (1, 1), &[Text], rule::like_first, "starling_soundex"),
    row("weight_string", (1, 1), &[Text], rule::binary_of_first, "starling_weight_string").extra(Extra::Collation),
    row("charset", (1, 1), &[Any], rule::text::<64>, "").custom(|_, types, _| convert::literal(charset_name(&types[0]))),
    row("collation", (1, 1), &[Any], rule::text::<64>, "")
        .custom(|_, types, _| convert::literal(types[0].ty.collation.as_deref().unwrap_or("binary"))),
    row("coercibility", (1, 1), &[Any], rule::bool_not_null, "").custom(|_, types, _| (types[0].coercibility as u8).to_string()),
];

pub const BODIES: &[&[Body]] = &[edit::BODIES, search::BODIES, encode::BODIES];

fn charset_name(ty: &Ty) -> &str {
    ty.ty.collation.as_deref().map_or("binary", collate::charset_of)
}

/// The first argument's text in all arguments' lengths: CONCAT_WS has its separator between each.
fn joined(args: &[Ty]) -> Ty {
    let separator = args.first().map_or(0, rule::chars) * args.len() as u64;
    let total: u64 = args.iter().skip(1).map(rule::chars).sum();
    let mut ty = rule::sized(args, separator + total, args.first().is_some_and(|a| a.nullable));
    ty.nullable = args.first().is_some_and(|a| a.nullable);
    ty
}

/// As the first argument alone (the others are numbers).
fn like_text(args: &[Ty]) -> Ty {
    let nullable = rule::any_nullable(args);
    rule::sized(&args[..1.min(args.len())], args.first().map_or(0, rule::chars), nullable)
}

/// Any length: MySQL says LONGTEXT unless the length is constant.
fn padded(args: &[Ty]) -> Ty {
    let texts: Vec<Ty> = args.iter().enumerate().filter(|(i, _)| *i != 1).map(|(_, t)| t.clone()).collect();
    rule::sized(&texts, u64::from(u32::MAX), true)
}

fn both_texts(args: &[Ty]) -> Ty {
    let texts: Vec<Ty> = [args.first(), args.get(3)].into_iter().flatten().cloned().collect();
    rule::sized(&texts, texts.iter().map(rule::chars).sum(), rule::any_nullable(args))
}

fn element(args: &[Ty]) -> Ty {
    let mut ty = rule::common(args.get(1..).unwrap_or(&[]));
    if !matches!(form(&ty), Form::Text | Form::Blob | Form::Null) {
        ty = convert::text_type(&ty);
    }
    ty.nullable = true;
    ty
}

fn hexed(args: &[Ty]) -> Ty {
    let length = args.first().map_or(0, |a| rule::chars(a).saturating_mul(8));
    let mut ty = rule::sized(&[], length, rule::any_nullable(args));
    ty.nullable = rule::any_nullable(args);
    ty
}

fn quoted(args: &[Ty]) -> Ty {
    rule::sized(args, args.first().map_or(0, |a| rule::chars(a).saturating_mul(2) + 2), false)
}

fn bytes_of_ints(args: &[Ty]) -> Ty {
    rule::binary(args.len() as u64 * 4, false)
}

fn hex(args: &[String], types: &[Ty], _: &Ty) -> String {
    match form(&types[0]) {
        Form::Int | Form::Unsigned | Form::Decimal | Form::Real => {
            format!("starling_hex_int({})", convert::to_kind(&args[0], &types[0], Int).0)
        }
        _ => format!("hex({})", convert::to_kind(&args[0], &types[0], Text).0),
    }
}

/// LOCATE(sub, text, pos): the hidden collation must not be taken for the position.
fn locate(args: &[String], types: &[Ty], _: &Ty) -> String {
    let collation = convert::literal(&convert::collation_of(&types.iter().take(2).collect::<Vec<_>>()));
    let position = args.get(2).map_or("1", String::as_str);
    format!("starling_locate({},{},{position},{collation})", args[0], args[1])
}
