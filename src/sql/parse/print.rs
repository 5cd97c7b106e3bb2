//! Expressions back as MySQL text, as SHOW CREATE TABLE shows defaults, checks and generated columns: lower-case functions, backquoted
//! names, a pair of parentheses around every operator.
//!
//! Promises: what is printed parses to the same tree again (operands of long AND/OR chains may nest otherwise).
//! Must not know: queries (no such expression may hold one).

use std::fmt::Write;

use super::{Result, SqlError};
use crate::sql::ast::{BinaryOp, Call, CastType, Expr, IntervalUnit, Literal, MatchMode, OrderBy, UnaryOp};

/// `expr` as text. `charset`: of the connection that wrote the statement; its plain strings are printed with it (`_utf8mb4'x'`, as MySQL
/// does in generated columns and checks); `None`: without.
pub fn expr(expr: &Expr, charset: Option<&str>) -> Result<String> {
    let mut printer = Printer {
        out: String::new(),
        charset,
    };
    printer.expr(expr)?;
    Ok(printer.out)
}

/// A name between backquotes.
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A string between quotes, escaped as MySQL escapes it there. Bytes that are no UTF-8 give a hexadecimal literal.
pub fn string(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return format!("0x{}", hex(bytes));
    };
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    for c in text.chars() {
        match c {
            '\'' => out.push_str("\\'"),
            '\\' => out.push_str("\\\\"),
            '\0' => out.push_str("\\0"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\x1a' => out.push_str("\\Z"),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

struct Printer<'a> {
    out: String,
    charset: Option<&'a str>,
}

impl Printer<'_> {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }
    fn expr(&mut self, expr: &Expr) -> Result<()> {
        match expr {
            Expr::Literal { value, .. } => self.literal(value),
            Expr::Param(_) => self.put("?"),
            Expr::Column { db, table, name, .. } => {
                for part in [db, table].into_iter().flatten() {
                    self.put(&quoted(part));
                    self.put(".");
                }
                self.put(&quoted(name));
            }
            Expr::UserVar(name) => self.put(&format!("@{}", quoted(name))),
            Expr::SysVar { scope, name } => {
                let scope = scope.as_ref().map(|s| format!("{s}.")).unwrap_or_default();
                self.put(&format!("@@{scope}{name}"));
            }
            Expr::Assign { var, value } => {
                self.put(&format!("(@{} := ", quoted(var)));
                self.expr(value)?;
                self.put(")");
            }
            Expr::Unary { op, expr } => self.unary(*op, expr)?,
            Expr::Binary { op, left, right } => self.binary(*op, left, right)?,
            Expr::Case { .. } => self.case(expr)?,
            Expr::Cast { expr, to } => {
                self.wrap("cast(", expr, " as ")?;
                let ty = cast_type(to);
                self.put(&format!("{ty})"));
            }
            Expr::ConvertUsing { expr, charset } => self.wrap("convert(", expr, &format!(" using {charset})"))?,
            Expr::Collate { expr, collation } => self.wrap("(", expr, &format!(" collate {collation})"))?,
            Expr::Row(items) => self.list("row(", items, ")")?,
            Expr::Function(call) => self.call(call)?,
            Expr::Default(None) => self.put("default"),
            Expr::Default(Some(name)) => self.put(&format!("default({})", quoted(name))),
            Expr::Star => self.put("*"),
            Expr::DateArith { .. } | Expr::TimestampAdd { .. } | Expr::TimestampDiff { .. } | Expr::Interval { .. } => self.dates(expr)?,
            Expr::Exists(_) | Expr::Subquery(_) | Expr::InQuery { .. } | Expr::Quantified { .. } => {
                return Err(SqlError::unsupported("subquery in a stored expression"));
            }
            _ => self.predicate(expr)?,
        }
        Ok(())
    }
    fn wrap(&mut self, before: &str, expr: &Expr, after: &str) -> Result<()> {
        self.put(before);
        self.expr(expr)?;
        self.put(after);
        Ok(())
    }
    fn list(&mut self, before: &str, items: &[Expr], after: &str) -> Result<()> {
        self.put(before);
        for (n, item) in items.iter().enumerate() {
            if n > 0 {
                self.put(",");
            }
            self.expr(item)?;
        }
        self.put(after);
        Ok(())
    }
    fn literal(&mut self, value: &Literal) {
        let introducer = |charset: Option<&str>| charset.map(|c| format!("_{c}")).unwrap_or_default();
        let text = match value {
            Literal::Null => "NULL".into(),
            Literal::Bool(true) => "true".into(),
            Literal::Bool(false) => "false".into(),
            Literal::Integer(value) => value.to_string(),
            Literal::Decimal(text) => text.clone(),
            Literal::Float(value) => format!("{value:e}"),
            Literal::String { bytes, charset } => {
                let charset = charset.as_deref().or(self.charset);
                format!("{}{}", introducer(charset), string(bytes))
            }
            Literal::National(bytes) => format!("_utf8mb3{}", string(bytes)),
            Literal::Hex { bytes, charset } | Literal::Bits { bytes, charset } => {
                format!("{}0x{}", introducer(charset.as_deref()), hex(bytes))
            }
            Literal::Date(text) => format!("DATE'{text}'"),
            Literal::Time(text) => format!("TIME'{text}'"),
            Literal::Timestamp(text) => format!("TIMESTAMP'{text}'"),
        };
        self.put(&text);
    }
    fn unary(&mut self, op: UnaryOp, expr: &Expr) -> Result<()> {
        let number = matches!(
            expr,
            Expr::Literal {
                value: Literal::Integer(_) | Literal::Decimal(_) | Literal::Float(_),
                ..
            }
        );
        match op {
            UnaryOp::Minus if number => self.wrap("-", expr, ""),
            UnaryOp::Minus => self.wrap("-(", expr, ")"),
            UnaryOp::Plus => self.wrap("+(", expr, ")"),
            UnaryOp::BitNot => self.wrap("~(", expr, ")"),
            UnaryOp::Not => self.wrap("(not(", expr, "))"),
        }
    }
    fn binary(&mut self, op: BinaryOp, left: &Expr, right: &Expr) -> Result<()> {
        match op {
            BinaryOp::And | BinaryOp::Or => {
                self.put("(");
                self.operands(op, left, true)?;
                self.operands(op, right, false)?;
                self.put(")");
                return Ok(());
            }
            BinaryOp::Concat => {
                self.wrap("concat(", left, ",")?;
                return self.wrap("", right, ")");
            }
            BinaryOp::JsonExtract => {
                self.wrap("json_extract(", left, ",")?;
                return self.wrap("", right, ")");
            }
            BinaryOp::JsonUnquote => {
                self.wrap("json_unquote(json_extract(", left, ",")?;
                return self.wrap("", right, "))");
            }
            _ => {}
        }
        self.wrap("(", left, &format!(" {} ", symbol(op)))?;
        self.wrap("", right, ")")
    }
    /// One list of all operands of an AND or OR, however they nest.
    fn operands(&mut self, op: BinaryOp, expr: &Expr, first: bool) -> Result<()> {
        match expr {
            Expr::Binary { op: inner, left, right } if *inner == op => {
                self.operands(op, left, first)?;
                self.operands(op, right, false)
            }
            _ => {
                if !first {
                    self.put(&format!(" {} ", symbol(op)));
                }
                self.expr(expr)
            }
        }
    }
    fn predicate(&mut self, expr: &Expr) -> Result<()> {
        let not = |negated: &bool| if *negated { "not " } else { "" };
        match expr {
            Expr::IsNull { expr, negated } => self.wrap("(", expr, &format!(" is {}null)", not(negated))),
            Expr::IsTruth { expr, truth, negated } => {
                let truth = match truth {
                    Some(true) => "true",
                    Some(false) => "false",
                    None => "unknown",
                };
                self.wrap("(", expr, &format!(" is {}{truth})", not(negated)))
            }
            Expr::Between { expr, low, high, negated } => {
                self.wrap("(", expr, &format!(" {}between ", not(negated)))?;
                self.wrap("", low, " and ")?;
                self.wrap("", high, ")")
            }
            Expr::InList { expr, list, negated } => {
                self.wrap("(", expr, &format!(" {}in ", not(negated)))?;
                self.list("(", list, "))")
            }
            Expr::Like {
                expr,
                pattern,
                escape,
                negated,
            } => {
                self.put(if *negated { "(not((" } else { "(" });
                self.wrap("", expr, " like ")?;
                self.expr(pattern)?;
                if let Some(escape) = escape {
                    self.wrap(" escape ", escape, "")?;
                }
                self.put(if *negated { ")))" } else { ")" });
                Ok(())
            }
            Expr::Regexp { expr, pattern, negated } => {
                self.put(if *negated { "(not(" } else { "" });
                self.wrap("regexp_like(", expr, ",")?;
                self.wrap("", pattern, ")")?;
                self.put(if *negated { "))" } else { "" });
                Ok(())
            }
            Expr::SoundsLike { left, right } => {
                self.wrap("(soundex(", left, ") = soundex(")?;
                self.wrap("", right, "))")
            }
            Expr::MemberOf { expr, array } => {
                self.wrap("", expr, " member of (")?;
                self.wrap("", array, ")")
            }
            Expr::Match { columns, against, mode } => {
                self.list("(match ", columns, " against (")?;
                self.wrap("", against, match_mode(*mode))
            }
            _ => Err(SqlError::internal("an expression cannot be printed")),
        }
    }
    fn case(&mut self, expr: &Expr) -> Result<()> {
        let Expr::Case { operand, whens, otherwise } = expr else {
            return Ok(());
        };
        self.put("(case ");
        if let Some(operand) = operand {
            self.wrap("", operand, " ")?;
        }
        for (when, then) in whens {
            self.wrap("when ", when, " then ")?;
            self.wrap("", then, " ")?;
        }
        if let Some(otherwise) = otherwise {
            self.wrap("else ", otherwise, " ")?;
        }
        self.put("end)");
        Ok(())
    }
    fn dates(&mut self, expr: &Expr) -> Result<()> {
        match expr {
            Expr::DateArith {
                expr,
                amount,
                unit,
                subtract,
            } => {
                self.wrap("(", expr, if *subtract { " - " } else { " + " })?;
                self.interval(amount, *unit)?;
                self.put(")");
            }
            Expr::TimestampAdd { unit, amount, expr } => {
                self.wrap("(", expr, " + ")?;
                self.interval(amount, *unit)?;
                self.put(")");
            }
            Expr::TimestampDiff { unit, from, to } => {
                self.put(&format!("timestampdiff({},", unit.name()));
                self.wrap("", from, ",")?;
                self.wrap("", to, ")")?;
            }
            Expr::Interval { amount, unit } => self.interval(amount, *unit)?,
            _ => {}
        }
        Ok(())
    }
    fn interval(&mut self, amount: &Expr, unit: IntervalUnit) -> Result<()> {
        self.wrap("interval ", amount, &format!(" {}", unit.name().to_ascii_lowercase()))
    }
    fn call(&mut self, call: &Call) -> Result<()> {
        if call.over.is_some() {
            return Err(SqlError::unsupported("window function in a stored expression"));
        }
        if let Some(db) = &call.db {
            self.put(&format!("{}.{}", quoted(db), quoted(&call.name)));
            return self.list("(", &call.args, ")");
        }
        match (call.name.as_str(), call.args.as_slice()) {
            ("mod", [left, right]) => return self.binary(BinaryOp::Mod, left, right),
            ("substring", args) => return self.list("substr(", args, ")"),
            ("stddev_pop", args) => return self.list("std(", args, ")"),
            ("var_pop", args) => return self.list("variance(", args, ")"),
            ("extract" | "get_format", [unit, arg]) => return self.with_unit(&call.name, unit, arg),
            (name @ ("trim_leading" | "trim_trailing" | "trim_both"), args) => {
                let side = &name["trim_".len()..];
                self.put(&format!("trim({side} "));
                if let [_, what] = args {
                    self.wrap("", what, " ")?;
                }
                self.put("from ");
                return match args.first() {
                    Some(text) => self.wrap("", text, ")"),
                    None => Ok(()),
                };
            }
            _ => {}
        }
        self.put(&call.name);
        self.list(if call.distinct { "(distinct " } else { "(" }, &call.args, "")?;
        self.order_by(&call.order_by)?;
        if let Some(separator) = &call.separator {
            self.put(&format!(" separator {}", string(separator)));
        }
        if let Some(charset) = &call.charset {
            self.put(&format!(" using {charset}"));
        }
        if let Some(to) = &call.returning {
            let word = if call.name == "weight_string" { "as" } else { "returning" };
            self.put(&format!(" {word} {}", cast_type(to)));
        }
        self.json_on(call);
        self.put(")");
        Ok(())
    }
    fn with_unit(&mut self, name: &str, unit: &Expr, arg: &Expr) -> Result<()> {
        let Expr::Literal {
            value: Literal::String { bytes, .. },
            ..
        } = unit
        else {
            return self.wrap("", unit, "");
        };
        let unit = String::from_utf8_lossy(bytes).to_ascii_lowercase();
        if name == "extract" {
            self.wrap(&format!("extract({unit} from "), arg, ")")
        } else {
            self.wrap(&format!("get_format({},", unit.to_ascii_uppercase()), arg, ")")
        }
    }
    fn order_by(&mut self, order: &[OrderBy]) -> Result<()> {
        for (n, part) in order.iter().enumerate() {
            self.put(if n == 0 { " order by " } else { "," });
            self.expr(&part.expr)?;
            self.put(if part.descending { " DESC" } else { "" });
        }
        Ok(())
    }
    fn json_on(&mut self, call: &Call) {
        use crate::sql::ast::JsonOn;
        for (on, when) in [(&call.on_empty, "empty"), (&call.on_error, "error")] {
            let _ = match on {
                None => Ok(()),
                Some(JsonOn::Null) => write!(self.out, " null on {when}"),
                Some(JsonOn::Error) => write!(self.out, " error on {when}"),
                Some(JsonOn::Default(text)) => write!(self.out, " default {} on {when}", string(text)),
            };
        }
    }
}

fn match_mode(mode: MatchMode) -> &'static str {
    match mode {
        MatchMode::Natural => "))",
        MatchMode::NaturalExpansion => " with query expansion))",
        MatchMode::Boolean => " in boolean mode))",
    }
}

fn cast_type(to: &CastType) -> String {
    let arg = |n: &Option<u32>| n.map(|n| format!("({n})")).unwrap_or_default();
    let decimals = |n: &Option<u8>| n.map(|n| format!("({n})")).unwrap_or_default();
    match to {
        CastType::Signed => "signed".into(),
        CastType::Unsigned => "unsigned".into(),
        CastType::Char { length, charset } => {
            let charset = charset.as_ref().map(|c| format!(" charset {c}")).unwrap_or_default();
            format!("char{}{charset}", arg(length))
        }
        CastType::Binary { length } => format!("char{} charset binary", arg(length)),
        CastType::Decimal { precision, scale } => {
            let precision = precision.unwrap_or(10);
            format!("decimal({precision},{})", scale.unwrap_or(0))
        }
        CastType::Float => "float".into(),
        CastType::Double => "double".into(),
        CastType::Date => "date".into(),
        CastType::Time { decimals: n } => format!("time{}", decimals(n)),
        CastType::DateTime { decimals: n } => format!("datetime{}", decimals(n)),
        CastType::Year => "year".into(),
        CastType::Json => "json".into(),
    }
}

fn symbol(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "*",
        BinaryOp::Div => "/",
        BinaryOp::IntDiv => "DIV",
        BinaryOp::Mod => "%",
        BinaryOp::BitAnd => "&",
        BinaryOp::BitOr => "|",
        BinaryOp::BitXor => "^",
        BinaryOp::ShiftLeft => "<<",
        BinaryOp::ShiftRight => ">>",
        BinaryOp::Eq => "=",
        BinaryOp::NullSafeEq => "<=>",
        BinaryOp::Ne => "<>",
        BinaryOp::Lt => "<",
        BinaryOp::Le => "<=",
        BinaryOp::Gt => ">",
        BinaryOp::Ge => ">=",
        BinaryOp::And => "and",
        BinaryOp::Or => "or",
        BinaryOp::Xor => "xor",
        BinaryOp::Concat => "||",
        BinaryOp::JsonExtract => "->",
        BinaryOp::JsonUnquote => "->>",
    }
}
