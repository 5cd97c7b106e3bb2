//! MySQL's functions and operators on SQLite: the one table that lists them, and their registration on a connection.
//!
//! A call is lowered in three steps, all offered here: [`lookup`] the function, bring each argument into the form its
//! [`Kind`] asks for ([`convert::to_kind`]), and write the call ([`Function::call`]). Operators are rows of the table too (`+`, `div`, `<<` …).
//!
//! Promises: arguments and results are in canonical storage form (`starling_apply::types`); a NULL argument gives NULL unless
//! the function says otherwise; errors carry MySQL's code (`starling:<code>:<message>`, see [`context::parse_error`]);
//! warnings are collected per thread ([`context::take_warnings`]). Must not know: sessions, catalogs, statements.

use std::collections::HashMap;
use std::sync::OnceLock;

use rusqlite::Connection;

use super::types::Ty;

pub mod aggregate;
pub mod ask;
pub mod cast;
pub mod context;
pub mod control;
pub mod convert;
pub mod hash;
pub mod json;
pub mod misc;
pub mod numeric;
pub mod operator;
pub mod pattern;
pub mod rule;
pub mod run;
pub mod session;
pub mod string;
pub mod temporal;

/// Which room of the manual a function belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Control,
    String,
    Numeric,
    Temporal,
    Json,
    Hash,
    Misc,
    Aggregate,
    Window,
    Operator,
}

/// The form in which a function takes an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As it is, in the canonical form of its own type.
    Any,
    /// Characters as TEXT; binary strings stay BLOB; everything else by its MySQL text.
    Text,
    /// BIGINT, signed or unsigned (unsigned stays; fractions are rounded).
    Int,
    Double,
    /// DECIMAL text; integers stay integers.
    Decimal,
    /// Integers, DECIMALs and DOUBLEs stay; temporals become numbers; all else DOUBLE.
    Number,
    /// 0, 1 or NULL, or any number to be tested against 0.
    Bool,
    /// DATE, TIME and DATETIME stay; anything else becomes DATETIME text (or what can be made of it).
    Temporal,
    Date,
    Time,
    /// DATE, TIME and DATETIME stay; anything else becomes TIME.
    Clock,
    DateTime,
    /// A JSON document: text is parsed (3141 when it cannot be).
    Json,
    /// A value to put into a JSON document: text becomes a JSON string.
    JsonValue,
    /// Bytes: text becomes its bytes.
    Binary,
    /// All such arguments in the result's type.
    Common,
    /// All such arguments in the one type in which they compare.
    Compare,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Scalar,
    Aggregate,
    /// Only with OVER.
    Window,
}

/// What is passed behind the visible arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    Nothing,
    /// The collation in which the Text (or Compare) arguments compare, as a text literal.
    Collation,
    /// The result's type ([`convert::spec`]).
    Result,
    /// Scale of the result, as an integer.
    Scale,
    /// The first argument's type ([`convert::spec`]).
    First,
    /// The type in which the `Compare` arguments compare ([`convert::spec`]).
    Compare,
}

/// Any number of arguments.
pub const MANY: u8 = u8::MAX;

/// Writes a call: arguments (converted), their original types, the result's type.
pub type Custom = fn(&[String], &[Ty], &Ty) -> String;

/// One row of the table.
#[derive(Debug)]
pub struct Function {
    /// Lower case.
    pub name: &'static str,
    pub family: Family,
    pub min_args: u8,
    pub max_args: u8,
    /// The last `repeat` of them repeat.
    pub params: &'static [Kind],
    pub repeat: u8,
    /// Type of the result from the types of the arguments (as given, before conversion).
    pub result: fn(&[Ty]) -> Ty,
    /// SQLite function that runs it (empty: written by [`Function::call`] in another way).
    pub sqlite: &'static str,
    pub extra: Extra,
    pub deterministic: bool,
    pub class: Class,
    /// Where the SQLite text is more than a plain call.
    pub custom: Option<Custom>,
}

impl Function {
    const fn new(
        name: &'static str,
        family: Family,
        (min_args, max_args): (u8, u8),
        params: &'static [Kind],
        result: fn(&[Ty]) -> Ty,
        sqlite: &'static str,
    ) -> Function {
        Function {
            name,
            family,
            min_args,
            max_args,
            params,
            repeat: 1,
            result,
            sqlite,
            extra: Extra::Nothing,
            deterministic: true,
            class: Class::Scalar,
            custom: None,
        }
    }
    const fn extra(mut self, extra: Extra) -> Function {
        self.extra = extra;
        self
    }
    const fn repeat(mut self, repeat: u8) -> Function {
        self.repeat = repeat;
        self
    }
    const fn volatile(mut self) -> Function {
        self.deterministic = false;
        self
    }
    const fn class(mut self, class: Class) -> Function {
        self.class = class;
        self
    }
    const fn custom(mut self, custom: Custom) -> Function {
        self.custom = Some(custom);
        self
    }

    /// The kind of argument `index`.
    pub fn param(&self, index: usize) -> Kind {
        let (count, repeat) = (self.params.len(), (self.repeat as usize).max(1));
        let at = if index < count || count < repeat {
            index
        } else {
            count - repeat + (index - count) % repeat
        };
        self.params.get(at).or(self.params.last()).copied().unwrap_or(Kind::Any)
    }
    pub fn takes(&self, count: usize) -> bool {
        count >= self.min_args as usize && (self.max_args == MANY || count <= self.max_args as usize)
    }
    /// Types the call: the result, and each argument's SQLite text converted to what the function takes.
    /// `args`: SQLite text and type of each argument. Gives the text of the whole call and its type.
    pub fn lower(&self, args: &[(String, Ty)]) -> (String, Ty) {
        let types: Vec<Ty> = args.iter().map(|(_, ty)| ty.clone()).collect();
        let result = (self.result)(&types);
        let converted = self.arguments(args, &types, &result);
        (self.call(&converted, &types, &result), result)
    }
    /// The arguments in the form the function takes.
    pub fn arguments(&self, args: &[(String, Ty)], types: &[Ty], result: &Ty) -> Vec<String> {
        let compare = self.comparison(types);
        args.iter()
            .enumerate()
            .map(|(index, (sql, ty))| match self.param(index) {
                Kind::Common => convert::to_type(sql, ty, result),
                Kind::Compare => convert::to_type(sql, ty, &compare),
                kind => convert::to_kind(sql, ty, kind).0,
            })
            .collect()
    }
    fn comparison(&self, types: &[Ty]) -> Ty {
        let compared: Vec<&Ty> = types
            .iter()
            .enumerate()
            .filter(|(i, _)| self.param(*i) == Kind::Compare)
            .map(|(_, t)| t)
            .collect();
        convert::comparison(&compared)
    }
    /// The call's SQLite text; `args` already converted, `types` as they were before.
    pub fn call(&self, args: &[String], types: &[Ty], result: &Ty) -> String {
        if let Some(custom) = self.custom {
            return custom(args, types, result);
        }
        let mut out = format!("{}({}", self.sqlite, args.join(","));
        let comma = if args.is_empty() { "" } else { "," };
        match self.extra {
            Extra::Nothing => {}
            Extra::Collation => out += &format!("{comma}{}", convert::literal(&self.collation(types))),
            Extra::Result => out += &format!("{comma}{}", convert::literal(&convert::spec(&result.ty))),
            Extra::Scale => out += &format!("{comma}{}", result.ty.decimals.unwrap_or(0)),
            Extra::First => {
                out += &format!(
                    "{comma}{}",
                    types.first().map_or("''".to_string(), |t| convert::literal(&convert::spec(&t.ty)))
                )
            }
            Extra::Compare => out += &format!("{comma}{}", convert::literal(&convert::spec(&self.comparison(types).ty))),
        }
        out.push(')');
        out
    }
    /// The collation in which its Text (or Compare) arguments compare; `binary` for byte strings.
    pub fn collation(&self, types: &[Ty]) -> String {
        let texts: Vec<&Ty> = types
            .iter()
            .enumerate()
            .filter(|(i, _)| matches!(self.param(*i), Kind::Text | Kind::Compare | Kind::Common))
            .map(|(_, t)| t)
            .collect();
        convert::collation_of(&texts)
    }
}

/// All functions, by family.
static FAMILIES: &[&[Function]] = &[
    operator::FUNCTIONS,
    control::FUNCTIONS,
    string::FUNCTIONS,
    pattern::FUNCTIONS,
    numeric::FUNCTIONS,
    temporal::FUNCTIONS,
    json::FUNCTIONS,
    hash::FUNCTIONS,
    misc::FUNCTIONS,
    session::FUNCTIONS,
    ask::FUNCTIONS,
    aggregate::FUNCTIONS,
];

/// All rows of the table.
pub fn functions() -> impl Iterator<Item = &'static Function> {
    FAMILIES.iter().flat_map(|family| family.iter())
}

/// A function (or operator) by its lower-case MySQL name.
pub fn lookup(name: &str) -> Option<&'static Function> {
    static INDEX: OnceLock<HashMap<&'static str, &'static Function>> = OnceLock::new();
    INDEX.get_or_init(|| functions().map(|f| (f.name, f)).collect()).get(name).copied()
}

/// Registers everything that lowered SQL may call, collations excepted (`starling_apply::collate`).
pub fn register(connection: &Connection) -> rusqlite::Result<()> {
    let families = [
        operator::BODIES,
        control::BODIES,
        pattern::BODIES,
        numeric::BODIES,
        hash::BODIES,
        misc::BODIES,
        session::BODIES,
        ask::BODIES,
        convert::BODIES,
    ];
    let split = string::BODIES.iter().chain(temporal::BODIES).chain(json::BODIES);
    for body in families.iter().chain(split).flat_map(|bodies| bodies.iter()) {
        body.register(connection)?;
    }
    aggregate::register(connection)
}

#[cfg(test)]
mod tests;
