//! Aggregates and window functions.
//!
//! Promises: 1111 where an aggregate cannot stand, 3593 where a window function cannot; DISTINCT, MIN and MAX go by the argument's
//! collation; frames that SQLite cannot run are refused by name. Must not know: GROUP BY.

use super::Binder;
use super::compare::collate;
use super::emit::wrong_count;
use super::value::Ex;
use crate::sql::ast::{Call, Expr, FrameBound, OrderBy, Over, WindowSpec};
use crate::sql::error::{Result, SqlError};
use crate::sql::func::{self, Class, Function, convert};
use crate::sql::types::Ty;

/// A lowered window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    partition: Vec<String>,
    order: Vec<String>,
    frame: String,
}

impl Window {
    fn text(&self) -> String {
        let mut parts = Vec::new();
        if !self.partition.is_empty() {
            parts.push(format!("PARTITION BY {}", self.partition.join(",")));
        }
        if !self.order.is_empty() {
            parts.push(format!("ORDER BY {}", self.order.join(",")));
        }
        if !self.frame.is_empty() {
            parts.push(self.frame.clone());
        }
        format!(" OVER ({})", parts.join(" "))
    }
}

/// What an aggregate of numbers is called on inside of windows and groups alike.
enum NativeWindow {
    /// ROW_NUMBER and its like: no argument.
    Rank,
    /// PERCENT_RANK, CUME_DIST
    Fraction,
    Ntile,
    /// LAG, LEAD
    Offset,
    /// FIRST_VALUE, LAST_VALUE
    Edge,
    /// NTH_VALUE
    Nth,
}

fn native_window(name: &str) -> Option<NativeWindow> {
    Some(match name {
        "row_number" | "rank" | "dense_rank" => NativeWindow::Rank,
        "percent_rank" | "cume_dist" => NativeWindow::Fraction,
        "ntile" => NativeWindow::Ntile,
        "lag" | "lead" => NativeWindow::Offset,
        "first_value" | "last_value" => NativeWindow::Edge,
        "nth_value" => NativeWindow::Nth,
        _ => return None,
    })
}

impl Binder<'_> {
    /// Runs `body` as the inside of an aggregate.
    fn inside<T>(&mut self, body: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.in_aggregate || !self.aggregates_allowed {
            return Err(SqlError::new(1111, "Invalid use of group function"));
        }
        let aliases = std::mem::replace(&mut self.aliases, super::scope::Aliases::No);
        self.in_aggregate = true;
        let out = body(self);
        self.in_aggregate = false;
        self.aliases = aliases;
        if let Some(frame) = self.frames.last_mut() {
            frame.aggregated = true;
        }
        out
    }

    /// An aggregate that is a window's goes over rows, not over the group: what it reads is read outside of any aggregate.
    fn aggregate_or_window<T>(&mut self, windowed: bool, body: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if windowed { body(self) } else { self.inside(body) }
    }

    /// An argument of DISTINCT, MIN, MAX: with its collation.
    fn collated(&mut self, ex: &Ex) -> (String, Ty) {
        let (sql, ty) = self.stored(ex);
        (self.ordered(ex, &sql), ty)
    }

    pub(crate) fn count(&mut self, call: &Call, window: Option<&Window>) -> Result<Ex> {
        let ty = Ty::int(false);
        let over = window.map(Window::text).unwrap_or_default();
        if let [Expr::Star] = call.args.as_slice() {
            self.aggregate_or_window(window.is_some(), |_| Ok(()))?;
            return Ok(Ex::sql(format!("count(*){over}"), ty));
        }
        if call.args.is_empty() || (call.args.len() > 1 && !call.distinct) {
            return Err(wrong_count("count"));
        }
        let args = self.aggregate_or_window(window.is_some(), |b| {
            call.args.iter().map(|a| b.bind(a)).collect::<Result<Vec<_>>>()
        })?;
        if !call.distinct {
            let sql = self.stored(&args[0]).0;
            return Ok(Ex::sql(format!("count({sql}){over}"), ty));
        }
        if window.is_some() {
            return Err(SqlError::unsupported("<window function>(DISTINCT ..)"));
        }
        if let [one] = args.as_slice() {
            let sql = self.collated(one).0;
            return Ok(Ex::sql(format!("count(DISTINCT {sql})"), ty));
        }
        let sql = self.row_key(&args)?;
        Ok(Ex::sql(format!("count(DISTINCT {sql})"), ty))
    }

    /// Several values as one text that is equal when all are, and NULL when one is.
    fn row_key(&mut self, args: &[Ex]) -> Result<String> {
        let mut nulls = Vec::new();
        let mut parts = Vec::new();
        for ex in args {
            let (sql, ty) = self.text(ex);
            if !collate(&ty).is_empty() && convert::form(&ty) == convert::Form::Text {
                let key = self.named("weight_string", std::slice::from_ref(ex))?;
                let key = self.stored(&key).0;
                parts.push(format!("quote({key})"));
            } else {
                parts.push(format!("quote({sql})"));
            }
            nulls.push(format!("{sql} IS NULL"));
        }
        Ok(format!(
            "CASE WHEN {} THEN NULL ELSE {} END",
            nulls.join(" OR "),
            parts.join("||','||")
        ))
    }

    pub(crate) fn aggregate(&mut self, function: &'static Function, call: &Call, window: Option<&Window>) -> Result<Ex> {
        if !function.takes(call.args.len()) {
            return Err(wrong_count(function.name));
        }
        let args = self.aggregate_or_window(window.is_some(), |b| {
            call.args.iter().map(|a| b.bind(a)).collect::<Result<Vec<_>>>()
        })?;
        if call.distinct && window.is_some() {
            return Err(SqlError::unsupported("<window function>(DISTINCT ..)"));
        }
        if call.distinct && function.name == "avg" {
            return self.distinct_average(&args[0]);
        }
        let ordered = matches!(function.name, "min" | "max" | "any_value");
        let lowered: Vec<(String, Ty)> = args
            .iter()
            .map(|ex| if ordered { self.stored(ex) } else { self.number_text(ex) })
            .collect();
        let types: Vec<Ty> = lowered.iter().map(|(_, ty)| ty.clone()).collect();
        let mut result = (function.result)(&types);
        let mut converted = function.arguments(&lowered, &types, &result);
        if let (Some(first), Some(ex)) = (converted.first_mut(), args.first()) {
            if (ordered || call.distinct) && !self.knows_collation(ex) {
                first.push_str(&collate(&types[0]));
            }
            if call.distinct && !ordered {
                *first = format!("DISTINCT {first}");
            }
        }
        if ordered {
            result = types.first().cloned().unwrap_or(result);
            result.nullable = true;
        }
        let sql = function.call(&converted, &types, &result);
        let over = window.map(Window::text).unwrap_or_default();
        Ok(Ex::sql(format!("{sql}{over}"), result))
    }

    /// SQLite takes DISTINCT with one argument only, and the exact average needs its scale beside the value.
    fn distinct_average(&mut self, ex: &Ex) -> Result<Ex> {
        let Some(sum) = func::lookup("sum") else {
            return Err(SqlError::unsupported("AVG(DISTINCT)"));
        };
        let (sql, ty) = self.number_text(ex);
        let (sql, number) = convert::number(&sql, &ty);
        let whole = Ex::sql(
            sum.call(
                &[format!("DISTINCT {sql}{}", collate(&number))],
                std::slice::from_ref(&ty),
                &(sum.result)(std::slice::from_ref(&ty)),
            ),
            (sum.result)(&[ty]),
        );
        let count = Ex::sql(format!("count(DISTINCT {sql}{})", collate(&number)), Ty::int(false));
        self.named("/", &[whole, count])
    }

    /// GROUP_CONCAT([DISTINCT] e, … [ORDER BY …] [SEPARATOR s])
    pub(crate) fn group_concat(&mut self, call: &Call, window: Option<&Window>) -> Result<Ex> {
        if window.is_some() {
            return Err(SqlError::unsupported("group_concat as window function"));
        }
        let Some(function) = func::lookup("group_concat") else {
            return Err(SqlError::unsupported("GROUP_CONCAT"));
        };
        let (value, order) = self.inside(|b| {
            let mut args = call.args.iter().map(|a| b.bind(a)).collect::<Result<Vec<_>>>()?;
            let value = match args.len() {
                0 => return Err(wrong_count("group_concat")),
                1 => args.remove(0),
                _ => b.named("concat", &args)?,
            };
            let order = b.order_terms(&call.order_by)?;
            Ok((value, order))
        })?;
        let separator = String::from_utf8_lossy(call.separator.as_deref().unwrap_or(b",")).into_owned();
        let (sql, ty) = self.text(&value);
        let (mut sql, ty) = convert::to_kind(&sql, &ty, func::Kind::Text);
        let types = vec![ty, self.text_constant(&separator).ty];
        let result = (function.result)(&types);
        if call.distinct {
            sql = format!("DISTINCT {sql}{}", collate(&types[0]));
        }
        let text = super::group_concat::call(function, &sql, &separator, call.distinct, &order, &types, &result);
        Ok(Ex::sql(text, result))
    }

    fn order_terms(&mut self, order: &[OrderBy]) -> Result<Vec<String>> {
        let mut out = Vec::with_capacity(order.len());
        for term in order {
            let ex = self.bind(&term.expr)?;
            let sql = self.stored(&ex).0;
            let mut text = self.ordered(&ex, &sql);
            if term.descending {
                text.push_str(" DESC");
            }
            out.push(text);
        }
        Ok(out)
    }

    pub(crate) fn window_call(&mut self, call: &Call) -> Result<Ex> {
        if !self.windows_allowed || self.in_aggregate {
            return Err(SqlError::new(
                3593,
                format!("You cannot use the window function '{}' in this context.'", call.name),
            ));
        }
        let window = match &call.over {
            Some(Over::Named(name)) => self.named_window(name)?,
            Some(Over::Spec(spec)) => self.window(spec)?,
            None => return Err(SqlError::internal("no window")),
        };
        if let Some(frame) = self.frames.last_mut() {
            frame.windowed = true;
        }
        if call.name == "count" {
            return self.count(call, Some(&window));
        }
        if call.name == "group_concat" {
            return self.group_concat(call, Some(&window));
        }
        if let Some(kind) = native_window(&call.name) {
            return self.native_window(kind, call, &window);
        }
        match func::lookup(&call.name) {
            Some(function) if function.class != Class::Scalar => self.aggregate(function, call, Some(&window)),
            Some(_) => Err(SqlError::syntax(b"OVER", 1)),
            None => Err(SqlError::new(1305, format!("FUNCTION {} does not exist", call.name))),
        }
    }

    fn native_window(&mut self, kind: NativeWindow, call: &Call, window: &Window) -> Result<Ex> {
        let (low, high) = match kind {
            NativeWindow::Rank | NativeWindow::Fraction => (0, 0),
            NativeWindow::Ntile | NativeWindow::Edge => (1, 1),
            NativeWindow::Nth => (2, 2),
            NativeWindow::Offset => (1, 3),
        };
        if call.args.len() < low || call.args.len() > high {
            return Err(wrong_count(&call.name));
        }
        let args = call.args.iter().map(|a| self.bind(a)).collect::<Result<Vec<_>>>()?;
        let ty = match kind {
            NativeWindow::Rank | NativeWindow::Ntile => Ty::unsigned(false),
            NativeWindow::Fraction => Ty::double(false),
            NativeWindow::Offset if args.len() == 3 => {
                let mut ty = self.common(&[args[0].clone(), args[2].clone()], &call.name)?;
                ty.nullable = true;
                ty
            }
            _ => {
                let mut ty = args[0].ty.clone();
                ty.nullable = true;
                ty
            }
        };
        let mut texts = Vec::with_capacity(args.len());
        for (n, ex) in args.iter().enumerate() {
            let own = n == 1 || matches!(kind, NativeWindow::Ntile);
            texts.push(if own { self.stored(ex).0 } else { self.in_type(ex, &ty) });
        }
        Ok(Ex::sql(format!("{}({}){}", call.name, texts.join(","), window.text()), ty))
    }

    /// A window of the WINDOW clause.
    pub(crate) fn named_window(&self, name: &str) -> Result<Window> {
        let found = self.windows.iter().rev().find(|(n, _)| super::scope::same(n, name));
        match found {
            Some((_, window)) => Ok(window.clone()),
            None => Err(SqlError::new(3579, format!("Window name '{name}' is not defined."))),
        }
    }

    pub(crate) fn window(&mut self, spec: &WindowSpec) -> Result<Window> {
        let mut out = match &spec.base {
            Some(base) => self.named_window(base)?,
            None => Window::default(),
        };
        let allowed = std::mem::replace(&mut self.windows_allowed, false);
        let bound = self.window_parts(spec, &mut out);
        self.windows_allowed = allowed;
        bound?;
        Ok(out)
    }

    fn window_parts(&mut self, spec: &WindowSpec, out: &mut Window) -> Result<()> {
        for expr in &spec.partition_by {
            let ex = self.bind(expr)?;
            let sql = self.stored(&ex).0;
            out.partition.push(self.ordered(&ex, &sql));
        }
        out.order.extend(self.order_terms(&spec.order_by)?);
        let Some(frame) = &spec.frame else { return Ok(()) };
        let unit = if frame.rows { "ROWS" } else { "RANGE" };
        let start = self.bound(&frame.start)?;
        out.frame = match &frame.end {
            Some(end) => {
                let end = self.bound(end)?;
                format!("{unit} BETWEEN {start} AND {end}")
            }
            None => format!("{unit} {start}"),
        };
        Ok(())
    }

    fn bound(&mut self, bound: &FrameBound) -> Result<String> {
        let (expr, word) = match bound {
            FrameBound::UnboundedPreceding => return Ok("UNBOUNDED PRECEDING".into()),
            FrameBound::UnboundedFollowing => return Ok("UNBOUNDED FOLLOWING".into()),
            FrameBound::CurrentRow => return Ok("CURRENT ROW".into()),
            FrameBound::Preceding(expr) => (expr, "PRECEDING"),
            FrameBound::Following(expr) => (expr, "FOLLOWING"),
        };
        if matches!(expr, Expr::Interval { .. }) {
            return Err(SqlError::unsupported("RANGE frames with INTERVAL"));
        }
        let ex = self.bind(expr)?;
        let sql = self.stored(&ex).0;
        Ok(format!("{sql} {word}"))
    }
}
