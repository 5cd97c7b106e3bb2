//! The syntax tree of MySQL's language, as the parser gives it: names unresolved, precedence settled.
//!
//! Promises: every literal of the text has an index into the statement's literal list (plan cache: a plan binds literals as
//! parameters, or pins them); every select expression knows its source text (MySQL names columns by it).
//! Must not know: the catalog, types.

mod admin;
mod ddl;
mod dml;
mod query;
mod statement;
mod xa;

pub use admin::*;
pub use ddl::*;
pub use dml::*;
pub use query::*;
pub use statement::*;
pub use xa::*;

/// A name as written (quotes removed).
pub type Name = String;

/// `[db.]table`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableName {
    pub db: Option<Name>,
    pub name: Name,
}

/// A range of the statement's text, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    Null,
    Bool(bool),
    /// Unsigned decimal digits that fit u64 (a sign is a unary operator).
    Integer(u64),
    /// Digits with a point, or too large for u64: exact text.
    Decimal(String),
    /// With an exponent.
    Float(f64),
    /// A character string in the connection's charset (bytes as sent; adjacent strings already joined), or with an introducer.
    String {
        bytes: Vec<u8>,
        charset: Option<Name>,
    },
    /// N'…'
    National(Vec<u8>),
    /// x'…' or 0x…
    Hex {
        bytes: Vec<u8>,
        charset: Option<Name>,
    },
    /// b'…' or 0b…
    Bits {
        bytes: Vec<u8>,
        charset: Option<Name>,
    },
    /// DATE '…', TIME '…', TIMESTAMP '…' (and the ODBC {d '…'} forms)
    Date(String),
    Time(String),
    Timestamp(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    Plus,
    Minus,
    /// ~
    BitNot,
    /// NOT and !
    Not,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    /// /
    Div,
    /// DIV
    IntDiv,
    /// % and MOD
    Mod,
    BitAnd,
    BitOr,
    BitXor,
    ShiftLeft,
    ShiftRight,
    Eq,
    /// <=>
    NullSafeEq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    And,
    Or,
    Xor,
    /// || under PIPES_AS_CONCAT
    Concat,
    /// ->
    JsonExtract,
    /// ->>
    JsonUnquote,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IntervalUnit {
    Microsecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    SecondMicrosecond,
    MinuteMicrosecond,
    MinuteSecond,
    HourMicrosecond,
    HourSecond,
    HourMinute,
    DayMicrosecond,
    DaySecond,
    DayMinute,
    DayHour,
    YearMonth,
}

/// Units and their names, in MySQL's upper case.
const UNITS: [(IntervalUnit, &str); 20] = [
    (IntervalUnit::Microsecond, "MICROSECOND"),
    (IntervalUnit::Second, "SECOND"),
    (IntervalUnit::Minute, "MINUTE"),
    (IntervalUnit::Hour, "HOUR"),
    (IntervalUnit::Day, "DAY"),
    (IntervalUnit::Week, "WEEK"),
    (IntervalUnit::Month, "MONTH"),
    (IntervalUnit::Quarter, "QUARTER"),
    (IntervalUnit::Year, "YEAR"),
    (IntervalUnit::SecondMicrosecond, "SECOND_MICROSECOND"),
    (IntervalUnit::MinuteMicrosecond, "MINUTE_MICROSECOND"),
    (IntervalUnit::MinuteSecond, "MINUTE_SECOND"),
    (IntervalUnit::HourMicrosecond, "HOUR_MICROSECOND"),
    (IntervalUnit::HourSecond, "HOUR_SECOND"),
    (IntervalUnit::HourMinute, "HOUR_MINUTE"),
    (IntervalUnit::DayMicrosecond, "DAY_MICROSECOND"),
    (IntervalUnit::DaySecond, "DAY_SECOND"),
    (IntervalUnit::DayMinute, "DAY_MINUTE"),
    (IntervalUnit::DayHour, "DAY_HOUR"),
    (IntervalUnit::YearMonth, "YEAR_MONTH"),
];

impl IntervalUnit {
    /// Upper case: `DAY_HOUR`.
    pub fn name(self) -> &'static str {
        UNITS.iter().find(|u| u.0 == self).map_or("", |u| u.1)
    }
    /// From the upper-case name.
    pub fn parse(name: &str) -> Option<IntervalUnit> {
        UNITS.iter().find(|u| u.1 == name).map(|u| u.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantifier {
    Any,
    All,
}

/// Slot of literals that are no token of their own (NULL, TRUE, FALSE, bare words of SET, what the parser made up).
pub const NO_SLOT: u32 = u32::MAX;

#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// `slot`: index into `Parsed::literals`, or `NO_SLOT`.
    Literal {
        value: Literal,
        slot: u32,
    },
    /// `?`, numbered from 0 in order of appearance.
    Param(u32),
    /// `[[db.]table.]column`
    Column {
        db: Option<Name>,
        table: Option<Name>,
        name: Name,
        span: Span,
    },
    /// `@x`
    UserVar(Name),
    /// `@@[scope.]x`; scope is None, "session"/"local" (given as "session"), "global", "persist".
    SysVar {
        scope: Option<Name>,
        name: Name,
    },
    /// `@x := e` (also inside SELECT)
    Assign {
        var: Name,
        value: Box<Expr>,
    },
    Unary {
        op: UnaryOp,
        expr: Box<Expr>,
    },
    Binary {
        op: BinaryOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `e op ANY|ALL (query)`
    Quantified {
        op: BinaryOp,
        left: Box<Expr>,
        quantifier: Quantifier,
        query: Box<Query>,
    },
    IsNull {
        expr: Box<Expr>,
        negated: bool,
    },
    /// IS [NOT] TRUE|FALSE|UNKNOWN (None)
    IsTruth {
        expr: Box<Expr>,
        truth: Option<bool>,
        negated: bool,
    },
    Between {
        expr: Box<Expr>,
        low: Box<Expr>,
        high: Box<Expr>,
        negated: bool,
    },
    InList {
        expr: Box<Expr>,
        list: Vec<Expr>,
        negated: bool,
    },
    InQuery {
        expr: Box<Expr>,
        query: Box<Query>,
        negated: bool,
    },
    Like {
        expr: Box<Expr>,
        pattern: Box<Expr>,
        escape: Option<Box<Expr>>,
        negated: bool,
    },
    Regexp {
        expr: Box<Expr>,
        pattern: Box<Expr>,
        negated: bool,
    },
    SoundsLike {
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `e MEMBER OF (json)`
    MemberOf {
        expr: Box<Expr>,
        array: Box<Expr>,
    },
    Case {
        operand: Option<Box<Expr>>,
        whens: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    /// CAST(e AS t [ARRAY]), CONVERT(e, t), BINARY e (t = Char binary)
    Cast {
        expr: Box<Expr>,
        to: CastType,
    },
    /// CONVERT(e USING charset)
    ConvertUsing {
        expr: Box<Expr>,
        charset: Name,
    },
    Collate {
        expr: Box<Expr>,
        collation: Name,
    },
    /// ROW(a, b) and (a, b)
    Row(Vec<Expr>),
    Exists(Box<Query>),
    Subquery(Box<Query>),
    /// Any function call, the special-syntax ones included (SUBSTRING(a FROM b FOR c) arrives as SUBSTRING(a, b, c);
    /// TRIM(LEADING x FROM y) as `trim_leading(y, x)`, likewise `trim_trailing`, `trim_both`; POSITION(a IN b) as locate(a, b);
    /// EXTRACT(unit FROM e) as extract('UNIT', e), upper case; GET_FORMAT(DATE, e) as get_format('DATE', e); CURRENT_TIMESTAMP, NOW etc. as "now", CURRENT_DATE as "curdate", CURRENT_TIME as "curtime",
    /// SUBSTR and MID as "substring", SCHEMA as "database", SESSION_USER as "user", STD as "stddev_pop", VARIANCE as "var_pop"; CHAR(… USING cs) with
    /// `charset`; WEIGHT_STRING, GET_FORMAT … by name; VALUES(col) as "values").
    Function(Box<Call>),
    /// DATE_ADD/DATE_SUB/`e + INTERVAL n unit`: also ADDDATE(d, n) with unit Day
    DateArith {
        expr: Box<Expr>,
        amount: Box<Expr>,
        unit: IntervalUnit,
        subtract: bool,
    },
    /// TIMESTAMPADD, TIMESTAMPDIFF: unit first
    TimestampAdd {
        unit: IntervalUnit,
        amount: Box<Expr>,
        expr: Box<Expr>,
    },
    TimestampDiff {
        unit: IntervalUnit,
        from: Box<Expr>,
        to: Box<Expr>,
    },
    /// An interval standing alone (window frames; INTERVAL(a, b, c) the function arrives as Function).
    Interval {
        amount: Box<Expr>,
        unit: IntervalUnit,
    },
    Match {
        columns: Vec<Expr>,
        against: Box<Expr>,
        mode: MatchMode,
    },
    /// DEFAULT (as a value), DEFAULT(col)
    Default(Option<Name>),
    /// `*` inside COUNT(*)
    Star,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchMode {
    Natural,
    NaturalExpansion,
    Boolean,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// `db.f(…)`
    pub db: Option<Name>,
    /// Lower case.
    pub name: Name,
    pub args: Vec<Expr>,
    pub distinct: bool,
    /// GROUP_CONCAT(… ORDER BY …)
    pub order_by: Vec<OrderBy>,
    /// GROUP_CONCAT(… SEPARATOR '…')
    pub separator: Option<Vec<u8>>,
    /// CHAR(… USING cs)
    pub charset: Option<Name>,
    pub over: Option<Over>,
    /// IGNORE NULLS etc. are refused by the parser (MySQL does).
    /// JSON_VALUE(… RETURNING t …) and the like.
    pub returning: Option<CastType>,
    /// JSON_VALUE(… ON EMPTY, … ON ERROR): `None` where not given.
    pub on_empty: Option<JsonOn>,
    pub on_error: Option<JsonOn>,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Over {
    Named(Name),
    Spec(Box<WindowSpec>),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct WindowSpec {
    pub base: Option<Name>,
    pub partition_by: Vec<Expr>,
    pub order_by: Vec<OrderBy>,
    pub frame: Option<Frame>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// false: RANGE
    pub rows: bool,
    pub start: FrameBound,
    pub end: Option<FrameBound>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum FrameBound {
    UnboundedPreceding,
    Preceding(Expr),
    CurrentRow,
    Following(Expr),
    UnboundedFollowing,
}

/// The type of a CAST.
#[derive(Clone, Debug, PartialEq)]
pub enum CastType {
    Signed,
    Unsigned,
    Char { length: Option<u32>, charset: Option<Name> },
    Binary { length: Option<u32> },
    Decimal { precision: Option<u32>, scale: Option<u8> },
    Float,
    Double,
    Date,
    Time { decimals: Option<u8> },
    DateTime { decimals: Option<u8> },
    Year,
    Json,
}

#[derive(Clone, Debug, PartialEq)]
pub struct OrderBy {
    pub expr: Expr,
    pub descending: bool,
}
