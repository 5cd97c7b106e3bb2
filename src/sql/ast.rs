//! The syntax tree of MySQL's language, as the parser gives it: names unresolved, precedence settled.
//!
//! Promises: every literal of the text has an index into the statement's literal list (plan cache: a plan binds literals as
//! parameters, or pins them); every select expression knows its source text (MySQL names columns by it).
//! Must not know: the catalog, types.

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
    Spec(WindowSpec),
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

/// A whole query expression: WITH … body ORDER BY … LIMIT … locking
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    pub with: Option<With>,
    pub body: SetExpr,
    pub order_by: Vec<OrderBy>,
    pub limit: Option<Limit>,
    pub locking: Vec<Locking>,
    /// INTO @a, @b | INTO OUTFILE … | INTO DUMPFILE …
    pub into: Option<Into>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct With {
    pub recursive: bool,
    pub ctes: Vec<Cte>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Cte {
    pub name: Name,
    pub columns: Vec<Name>,
    pub query: Query,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SetExpr {
    Select(Box<Select>),
    /// Parenthesized, with its own ORDER BY and LIMIT
    Query(Box<Query>),
    SetOp {
        op: SetOp,
        all: bool,
        left: Box<SetExpr>,
        right: Box<SetExpr>,
    },
    /// VALUES ROW(1, 2), ROW(…)
    Values(Vec<Vec<Expr>>),
    /// TABLE t
    Table(TableName),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOp {
    Union,
    Intersect,
    Except,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Select {
    pub distinct: bool,
    pub straight_join: bool,
    pub calc_found_rows: bool,
    pub items: Vec<SelectItem>,
    pub from: Vec<TableRef>,
    pub filter: Option<Expr>,
    pub group_by: Vec<Expr>,
    pub rollup: bool,
    pub having: Option<Expr>,
    pub windows: Vec<(Name, WindowSpec)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SelectItem {
    /// `*`
    Wildcard,
    /// `t.*`, `db.t.*`
    TableWildcard(TableName),
    Expr {
        expr: Expr,
        alias: Option<Name>,
        text: Span,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum TableRef {
    Table {
        name: TableName,
        alias: Option<Name>,
        partitions: Vec<Name>,
    },
    Derived {
        query: Box<Query>,
        alias: Option<Name>,
        columns: Vec<Name>,
        lateral: bool,
    },
    Join {
        kind: JoinKind,
        left: Box<TableRef>,
        right: Box<TableRef>,
        on: JoinOn,
    },
    /// (t1, t2) — a parenthesized comma list
    List(Vec<TableRef>),
    JsonTable {
        doc: Expr,
        path: Vec<u8>,
        columns: Vec<JsonColumn>,
        alias: Name,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum JsonColumn {
    Ordinality(Name),
    Path {
        name: Name,
        ty: TypeName,
        path: Vec<u8>,
        exists: bool,
        on_empty: JsonOn,
        on_error: JsonOn,
    },
    Nested {
        path: Vec<u8>,
        columns: Vec<JsonColumn>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum JsonOn {
    Null,
    Error,
    Default(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Straight,
}

#[derive(Clone, Debug, PartialEq)]
pub enum JoinOn {
    None,
    On(Expr),
    Using(Vec<Name>),
    Natural,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// Literal or Param.
    pub count: Expr,
    pub offset: Option<Expr>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Locking {
    /// true: FOR UPDATE; false: FOR SHARE / LOCK IN SHARE MODE
    pub exclusive: bool,
    pub of: Vec<Name>,
    pub wait: LockWait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockWait {
    Wait,
    NoWait,
    SkipLocked,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Into {
    Vars(Vec<Name>),
    Outfile(Vec<u8>),
    Dumpfile(Vec<u8>),
}

/// A type as written in DDL: lower-case word(s) without arguments, then what was given.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TypeName {
    /// `int`, `varchar`, `double`, `datetime`, `enum` … (synonyms resolved: integer→int, numeric/dec/fixed→decimal,
    /// real/double precision→double, bool/boolean→tinyint with length 1, character→char, serial → see ColumnOption,
    /// national/nchar→char with charset utf8mb3, long→mediumtext, int1..int8, middleint → the sized ints)
    pub name: Name,
    pub args: Vec<u32>,
    pub labels: Vec<Vec<u8>>,
    pub unsigned: bool,
    pub zerofill: bool,
    pub charset: Option<Name>,
    pub collation: Option<Name>,
    /// CHAR(5) BINARY
    pub binary: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ColumnDef {
    pub name: Name,
    pub ty: TypeName,
    pub options: Vec<ColumnOption>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ColumnOption {
    Null,
    NotNull,
    /// `text`: its source text; parenthesized (an expression default) or not.
    Default {
        expr: Expr,
        parenthesized: bool,
        text: Span,
    },
    AutoIncrement,
    PrimaryKey,
    Unique,
    Comment(Vec<u8>),
    Collate(Name),
    OnUpdateNow(Option<u8>),
    Generated {
        expr: Expr,
        stored: bool,
        text: Span,
    },
    References(References),
    Check {
        name: Option<Name>,
        expr: Expr,
        enforced: bool,
        text: Span,
    },
    Visible(bool),
    /// COLUMN_FORMAT, STORAGE, ENGINE_ATTRIBUTE, SRID …: accepted, without effect
    Ignored,
}

#[derive(Clone, Debug, PartialEq)]
pub struct References {
    pub table: TableName,
    pub columns: Vec<Name>,
    pub on_delete: Option<RefAction>,
    pub on_update: Option<RefAction>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefAction {
    Restrict,
    Cascade,
    SetNull,
    NoAction,
    SetDefault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    Primary,
    Unique,
    Plain,
    FullText,
    Spatial,
    Vector,
}

#[derive(Clone, Debug, PartialEq)]
pub struct KeyDef {
    pub kind: KeyKind,
    pub name: Option<Name>,
    /// CONSTRAINT symbol
    pub constraint: Option<Name>,
    pub parts: Vec<KeyPartDef>,
    pub comment: Option<Vec<u8>>,
    pub visible: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct KeyPartDef {
    /// A column, or (functional key part) an expression.
    pub column: Name,
    pub expr: Option<Expr>,
    pub prefix: Option<u32>,
    pub descending: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum TableElement {
    Column(ColumnDef),
    Key(KeyDef),
    ForeignKey {
        constraint: Option<Name>,
        name: Option<Name>,
        columns: Vec<Name>,
        references: References,
    },
    Check {
        name: Option<Name>,
        expr: Expr,
        enforced: bool,
        text: Span,
    },
}

/// ENGINE=, CHARSET=, COMMENT= …: lower-case key, value as text (`default charset` → `charset`).
#[derive(Clone, Debug, PartialEq)]
pub struct TableOption {
    pub key: Name,
    pub value: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CreateTable {
    pub temporary: bool,
    pub if_not_exists: bool,
    pub name: TableName,
    pub elements: Vec<TableElement>,
    pub options: Vec<TableOption>,
    pub like: Option<TableName>,
    /// CREATE TABLE … [IGNORE|REPLACE] SELECT
    pub query: Option<Box<Query>>,
    pub query_ignore: bool,
    pub query_replace: bool,
    /// PARTITION BY given (refused by name)
    pub partitioned: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum AlterAction {
    AddColumns {
        columns: Vec<ColumnDef>,
        if_not_exists: bool,
        position: Option<Position>,
    },
    /// Keys, foreign keys and checks
    Add(TableElement),
    DropColumn {
        name: Name,
        if_exists: bool,
    },
    DropPrimary,
    DropKey {
        name: Name,
        if_exists: bool,
    },
    DropForeignKey {
        name: Name,
        if_exists: bool,
    },
    /// DROP CONSTRAINT / DROP CHECK
    DropConstraint {
        name: Name,
        if_exists: bool,
    },
    Modify {
        column: ColumnDef,
        position: Option<Position>,
        if_exists: bool,
    },
    Change {
        old: Name,
        column: ColumnDef,
        position: Option<Position>,
        if_exists: bool,
    },
    /// SET DEFAULT (Some) / DROP DEFAULT (None)
    SetDefault {
        name: Name,
        default: Option<(Expr, Span, bool)>,
    },
    RenameColumn {
        old: Name,
        new: Name,
    },
    RenameKey {
        old: Name,
        new: Name,
    },
    RenameTable(TableName),
    ConvertCharset {
        charset: Option<Name>,
        collation: Option<Name>,
    },
    Options(Vec<TableOption>),
    KeyVisible {
        name: Name,
        visible: bool,
    },
    ColumnVisible {
        name: Name,
        visible: bool,
    },
    EnforceCheck {
        name: Name,
        enforced: bool,
    },
    /// ENABLE/DISABLE KEYS, ALGORITHM=, LOCK=, ORDER BY, FORCE, WITH VALIDATION: accepted, without effect
    Ignored,
    /// PARTITION things, TABLESPACE: refused by name
    Refused(&'static str),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Position {
    First,
    After(Name),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Insert {
    pub replace: bool,
    pub ignore: bool,
    pub table: TableName,
    pub columns: Option<Vec<Name>>,
    pub source: InsertSource,
    /// `AS new(a, b)`
    pub row_alias: Option<(Name, Vec<Name>)>,
    pub on_duplicate: Vec<SetItem>,
    pub returning: Vec<SelectItem>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum InsertSource {
    Values(Vec<Vec<Expr>>),
    Set(Vec<SetItem>),
    Query(Box<Query>),
}

/// `[[db.]table.]column = value`
#[derive(Clone, Debug, PartialEq)]
pub struct SetItem {
    pub db: Option<Name>,
    pub table: Option<Name>,
    pub column: Name,
    pub value: Expr,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    pub with: Option<With>,
    pub ignore: bool,
    pub from: Vec<TableRef>,
    pub set: Vec<SetItem>,
    pub filter: Option<Expr>,
    pub order_by: Vec<OrderBy>,
    pub limit: Option<Limit>,
    pub returning: Vec<SelectItem>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Delete {
    pub with: Option<With>,
    pub ignore: bool,
    /// Multi-table: what to delete from (`DELETE a, b FROM …` / `DELETE FROM a, b USING …`); empty for single-table.
    pub targets: Vec<TableName>,
    pub from: Vec<TableRef>,
    pub filter: Option<Expr>,
    pub order_by: Vec<OrderBy>,
    pub limit: Option<Limit>,
    pub returning: Vec<SelectItem>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Session,
    Global,
    Persist,
    PersistOnly,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SetStatement {
    /// SET [scope] name = value; a bare word value (`ON`, `utf8mb4`, `READ-COMMITTED`) arrives as a String literal with slot u32::MAX
    System {
        scope: Option<Scope>,
        name: Name,
        value: Expr,
    },
    User {
        name: Name,
        value: Expr,
    },
    Names {
        charset: Option<Name>,
        collation: Option<Name>,
    },
    Charset(Option<Name>),
    Transaction {
        scope: Option<Scope>,
        isolation: Option<Isolation>,
        read_only: Option<bool>,
    },
    Password {
        user: Option<Account>,
        password: Vec<u8>,
    },
    Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub user: String,
    pub host: Option<String>,
}

/// LIKE 'pattern' or WHERE expr
#[derive(Clone, Debug, PartialEq)]
pub enum ShowFilter {
    Like(Vec<u8>),
    Where(Expr),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Show {
    pub kind: ShowKind,
    pub full: bool,
    pub extended: bool,
    pub filter: Option<ShowFilter>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ShowKind {
    Databases,
    Tables {
        db: Option<Name>,
    },
    TableStatus {
        db: Option<Name>,
    },
    OpenTables {
        db: Option<Name>,
    },
    Columns {
        table: TableName,
    },
    Index {
        table: TableName,
    },
    CreateTable(TableName),
    CreateView(TableName),
    CreateDatabase {
        name: Name,
        if_not_exists: bool,
    },
    CreateUser(Account),
    CreateOther(&'static str, TableName),
    Triggers {
        db: Option<Name>,
    },
    Events {
        db: Option<Name>,
    },
    ProcedureStatus,
    FunctionStatus,
    Variables(Scope),
    Status(Scope),
    Warnings {
        limit: Option<(u64, u64)>,
    },
    Errors {
        limit: Option<(u64, u64)>,
    },
    CountWarnings,
    CountErrors,
    ProcessList,
    Engines,
    EngineStatus(Name),
    CharacterSet,
    Collation,
    Grants(Option<Account>),
    Privileges,
    Plugins,
    BinaryLogs,
    BinaryLogStatus,
    ReplicaStatus,
    Replicas,
    Profiles,
    /// Anything else, by its words: refused by name
    Other(String),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    Query(Box<Query>),
    Insert(Box<Insert>),
    Update(Box<Update>),
    Delete(Box<Delete>),
    CreateDatabase {
        name: Name,
        if_not_exists: bool,
        options: Vec<TableOption>,
    },
    AlterDatabase {
        name: Option<Name>,
        options: Vec<TableOption>,
    },
    DropDatabase {
        name: Name,
        if_exists: bool,
    },
    Use(Name),
    CreateTable(Box<CreateTable>),
    AlterTable {
        name: TableName,
        actions: Vec<AlterAction>,
        if_exists: bool,
    },
    DropTables {
        temporary: bool,
        if_exists: bool,
        names: Vec<TableName>,
    },
    TruncateTable(TableName),
    RenameTables(Vec<(TableName, TableName)>),
    CreateIndex {
        table: TableName,
        key: KeyDef,
        if_not_exists: bool,
    },
    DropIndex {
        table: TableName,
        name: Name,
        if_exists: bool,
    },
    /// `text`: of the whole query
    CreateView {
        or_replace: bool,
        name: TableName,
        columns: Vec<Name>,
        query: Box<Query>,
        text: Span,
        check_option: Option<bool>,
    },
    DropViews {
        if_exists: bool,
        names: Vec<TableName>,
    },
    Begin {
        read_only: Option<bool>,
        snapshot: bool,
    },
    Commit {
        chain: bool,
        release: bool,
    },
    Rollback {
        chain: bool,
        release: bool,
    },
    Savepoint(Name),
    RollbackTo(Name),
    ReleaseSavepoint(Name),
    LockTables(Vec<(TableName, Option<Name>, bool)>),
    UnlockTables,
    Set(Vec<SetStatement>),
    Show(Box<Show>),
    /// DESCRIBE t [col]
    Describe {
        table: TableName,
        column: Option<Vec<u8>>,
    },
    Explain {
        format: Option<Name>,
        analyze: bool,
        statement: Box<Statement>,
    },
    Prepare {
        name: Name,
        source: PrepareSource,
    },
    Execute {
        name: Name,
        using: Vec<Name>,
    },
    Deallocate(Name),
    Do(Vec<Expr>),
    Kill {
        query: bool,
        id: Expr,
    },
    /// ANALYZE | OPTIMIZE | REPAIR | CHECK | CHECKSUM TABLE
    TableMaintenance {
        verb: &'static str,
        names: Vec<TableName>,
    },
    Flush(String),
    /// CREATE/ALTER/DROP/RENAME USER, GRANT, REVOKE, roles: issue of accounts; carried by name until then
    LoadData {
        local: bool,
        file: Vec<u8>,
        text: Span,
    },
    /// Understood as a statement of MySQL, refused by name with 1235.
    Refused(&'static str),
}

#[derive(Clone, Debug, PartialEq)]
pub enum PrepareSource {
    Text(Vec<u8>),
    Var(Name),
}

/// One parsed statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    pub statement: Statement,
    /// How many `?` it has.
    pub params: u32,
    /// The literals of the text in order (index = `slot`): where they stand, with what belongs to them (`DATE '…'`, `_latin1'…'`,
    /// `{d '…'}`), so that this piece of the text alone parses to the same literal. Every literal token has a slot, also those that
    /// the grammar itself consumed (aliases, type lengths, separators).
    pub literals: Vec<Span>,
    /// The slots that are no `Expr::Literal`: whoever caches a plan pins them always.
    pub pinned: Vec<u32>,
}
