//! Queries: SELECT and what is built of it (WITH, UNION, VALUES, TABLE, windows, locking, INTO).
//!
//! Promises: INTERSECT binds tighter than UNION and EXCEPT; every select expression has its source span.
//! Must not know: expressions' inside (`expr`), FROM's inside (`from`).

use super::{MAX_HEIGHT, Parser, Result, SqlError, is_ident, too_deep};
use crate::sql::ast::{
    Cte, Expr, Frame, FrameBound, Into, Limit, LockWait, Locking, Name, OrderBy, Query, Select, SelectItem, SetExpr, SetOp, TableName, With,
};
use crate::sql::lex::{Kw, Tok};

impl Parser<'_> {
    /// `[WITH …] body [ORDER BY] [LIMIT] [locking] [INTO]`
    pub(super) fn query(&mut self) -> Result<Query> {
        self.enter()?;
        let with = self.with()?;
        let query = self.query_with(with)?;
        self.leave();
        Ok(query)
    }
    /// The rest of a query whose WITH is parsed.
    pub(super) fn query_with(&mut self, with: Option<With>) -> Result<Query> {
        let mut query = plain(SetExpr::Values(Vec::new()));
        query.body = self.set_expr(&mut query.into)?;
        query.with = with;
        self.unwrap_or_tail(query)
    }
    /// A query that came in parentheses: what may follow it within a larger one.
    pub(super) fn query_from(&mut self, inner: Query) -> Result<Query> {
        self.enter()?;
        let mut into = None;
        let left = operand(inner);
        let body = self.set_rest(left, 0, &mut into)?;
        let mut query = plain(body);
        query.into = into;
        let query = self.unwrap_or_tail(query)?;
        self.leave();
        Ok(query)
    }
    /// `(query)` alone stays itself.
    fn unwrap_or_tail(&mut self, mut query: Query) -> Result<Query> {
        if query.with.is_none() && matches!(query.body, SetExpr::Query(_)) && !self.at_query_tail() {
            if let SetExpr::Query(inner) = query.body {
                return Ok(*inner);
            }
            return Err(self.unexpected());
        }
        self.query_tail(&mut query)?;
        Ok(query)
    }
    pub(super) fn at_query_tail(&self) -> bool {
        matches!(
            self.tok.kw,
            Kw::UNION | Kw::EXCEPT | Kw::INTERSECT | Kw::ORDER | Kw::LIMIT | Kw::FOR | Kw::LOCK | Kw::INTO
        )
    }
    fn query_tail(&mut self, query: &mut Query) -> Result<()> {
        query.order_by = self.order_by()?;
        query.limit = self.limit()?;
        self.into(&mut query.into)?;
        while let Some(lock) = self.locking()? {
            query.locking.push(lock);
        }
        self.into(&mut query.into)
    }
    pub(super) fn with(&mut self) -> Result<Option<With>> {
        if !self.eat(Kw::WITH) {
            return Ok(None);
        }
        let recursive = self.eat(Kw::RECURSIVE);
        let ctes = self.list(|p| {
            let name = p.ident()?;
            let columns = p.name_list()?;
            p.need(Kw::AS)?;
            let query = p.paren_query()?;
            Ok(Cte { name, columns, query })
        })?;
        Ok(Some(With { recursive, ctes }))
    }
    /// `(a, b)` or nothing.
    pub(super) fn name_list(&mut self) -> Result<Vec<Name>> {
        if self.at(Tok::LParen) {
            self.paren_list(Self::ident)
        } else {
            Ok(Vec::new())
        }
    }

    fn set_expr(&mut self, into: &mut Option<Into>) -> Result<SetExpr> {
        let left = self.set_operand(into)?;
        self.set_rest(left, 0, into)
    }
    /// Set operations behind `left`; `level` 1: INTERSECT only.
    fn set_rest(&mut self, mut left: SetExpr, level: u8, into: &mut Option<Into>) -> Result<SetExpr> {
        let mut links = 0;
        loop {
            let op = match self.tok.kw {
                Kw::UNION if level == 0 => SetOp::Union,
                Kw::EXCEPT if level == 0 => SetOp::Except,
                Kw::INTERSECT => SetOp::Intersect,
                _ => return Ok(left),
            };
            links += 1;
            if links > MAX_HEIGHT {
                return Err(too_deep());
            }
            self.link()?;
            self.bump();
            let all = self.eat(Kw::ALL);
            if !all {
                self.eat(Kw::DISTINCT);
            }
            let mut right = self.set_operand(into)?;
            if op != SetOp::Intersect {
                right = self.set_rest(right, 1, into)?;
            }
            left = SetExpr::SetOp {
                op,
                all,
                left: Box::new(left),
                right: Box::new(right),
            };
        }
    }
    fn set_operand(&mut self, into: &mut Option<Into>) -> Result<SetExpr> {
        match self.tok.kw {
            Kw::SELECT => Ok(SetExpr::Select(Box::new(self.select(into)?))),
            Kw::TABLE => {
                self.bump();
                Ok(SetExpr::Table(self.table_name()?))
            }
            Kw::VALUES => {
                self.bump();
                let rows = self.list(|p| {
                    p.need(Kw::ROW)?;
                    p.value_row()
                })?;
                Ok(SetExpr::Values(rows))
            }
            _ if self.at(Tok::LParen) => Ok(operand(self.paren_query()?)),
            _ => Err(self.unexpected()),
        }
    }

    fn select(&mut self, into: &mut Option<Into>) -> Result<Select> {
        self.bump();
        let mut select = Select::default();
        self.select_options(&mut select);
        select.items = self.list(Self::select_item)?;
        self.into(into)?;
        if self.eat(Kw::FROM) {
            if !self.eat(Kw::DUAL) {
                select.from = self.list(Self::table_ref)?;
            }
        } else if !self.clause_may_follow() {
            return Ok(select);
        }
        if self.eat(Kw::WHERE) {
            select.filter = Some(self.expr()?);
        }
        if self.eat(Kw::GROUP) {
            self.group_by(&mut select)?;
        }
        if self.eat(Kw::HAVING) {
            select.having = Some(self.expr()?);
        }
        if self.eat(Kw::WINDOW) {
            select.windows = self.list(|p| {
                let name = p.ident()?;
                p.need(Kw::AS)?;
                Ok((name, p.window_spec()?))
            })?;
        }
        Ok(select)
    }
    fn clause_may_follow(&self) -> bool {
        matches!(self.tok.kw, Kw::WHERE | Kw::GROUP | Kw::HAVING | Kw::WINDOW)
    }
    fn group_by(&mut self, select: &mut Select) -> Result<()> {
        self.need(Kw::BY)?;
        if self.is(Kw::ROLLUP) && self.peek().tok == Tok::LParen {
            self.bump();
            select.group_by = self.paren_list(Self::expr)?;
            select.rollup = true;
            return Ok(());
        }
        select.group_by = self.list(|p| {
            let expr = p.expr()?;
            if p.is(Kw::DESC) {
                return Err(p.unexpected());
            }
            p.eat(Kw::ASC);
            Ok(expr)
        })?;
        if self.eat(Kw::WITH) {
            self.need(Kw::ROLLUP)?;
            select.rollup = true;
        }
        Ok(())
    }
    fn select_options(&mut self, select: &mut Select) {
        loop {
            match self.tok.kw {
                Kw::DISTINCT | Kw::DISTINCTROW => select.distinct = true,
                Kw::STRAIGHT_JOIN => select.straight_join = true,
                Kw::SQL_CALC_FOUND_ROWS => select.calc_found_rows = true,
                Kw::ALL | Kw::HIGH_PRIORITY | Kw::SQL_SMALL_RESULT | Kw::SQL_BIG_RESULT | Kw::SQL_BUFFER_RESULT | Kw::SQL_NO_CACHE => {}
                _ => return,
            }
            self.bump();
        }
    }
    pub(super) fn select_item(&mut self) -> Result<SelectItem> {
        if self.eat_tok(Tok::Star) {
            return Ok(SelectItem::Wildcard);
        }
        if is_ident(self.tok)
            && let Some(item) = self.table_wildcard()?
        {
            return Ok(item);
        }
        let start = self.tok.start;
        let expr = self.expr()?;
        let text = self.span_from(start);
        let named = self.eat(Kw::AS) || self.at(Tok::Str) || (self.is_ident() && !self.is(Kw::RETURNING));
        let alias = if named { Some(self.ident_or_string()?) } else { None };
        Ok(SelectItem::Expr { expr, alias, text })
    }
    /// `t.*`, `db.t.*`
    fn table_wildcard(&mut self) -> Result<Option<SelectItem>> {
        let (dot, next) = self.peek2();
        if dot.tok != Tok::Dot || !(next.tok == Tok::Star || is_ident(next)) {
            return Ok(None);
        }
        let mark = self.mark();
        let first = self.ident()?;
        self.bump();
        if self.eat_tok(Tok::Star) {
            return Ok(Some(SelectItem::TableWildcard(TableName { db: None, name: first })));
        }
        let name = self.ident()?;
        if self.eat_tok(Tok::Dot) && self.eat_tok(Tok::Star) {
            return Ok(Some(SelectItem::TableWildcard(TableName { db: Some(first), name })));
        }
        self.reset(&mark);
        Ok(None)
    }

    pub(super) fn order_by(&mut self) -> Result<Vec<OrderBy>> {
        if !self.eat(Kw::ORDER) {
            return Ok(Vec::new());
        }
        self.need(Kw::BY)?;
        self.list(|p| {
            let expr = p.expr()?;
            let descending = p.eat(Kw::DESC);
            if !descending {
                p.eat(Kw::ASC);
            }
            Ok(OrderBy { expr, descending })
        })
    }
    /// `LIMIT n`, `LIMIT offset, n`, `LIMIT n OFFSET offset`
    pub(super) fn limit(&mut self) -> Result<Option<Limit>> {
        if !self.eat(Kw::LIMIT) {
            return Ok(None);
        }
        let first = self.limit_value()?;
        if self.eat_tok(Tok::Comma) {
            return Ok(Some(Limit {
                count: self.limit_value()?,
                offset: Some(first),
            }));
        }
        let offset = if self.eat(Kw::OFFSET) { Some(self.limit_value()?) } else { None };
        Ok(Some(Limit { count: first, offset }))
    }
    fn limit_value(&mut self) -> Result<Expr> {
        match self.tok.tok {
            Tok::Integer | Tok::Param => self.primary(),
            _ => Err(self.unexpected()),
        }
    }
    fn locking(&mut self) -> Result<Option<Locking>> {
        if self.eat(Kw::LOCK) {
            self.need(Kw::IN)?;
            self.need(Kw::SHARE)?;
            self.need(Kw::MODE)?;
            return Ok(Some(Locking {
                exclusive: false,
                of: Vec::new(),
                wait: LockWait::Wait,
            }));
        }
        if !self.is(Kw::FOR) || !matches!(self.peek().kw, Kw::UPDATE | Kw::SHARE) {
            return Ok(None);
        }
        self.bump();
        let exclusive = self.is(Kw::UPDATE);
        self.bump();
        let of = if self.eat(Kw::OF) { self.list(Self::ident)? } else { Vec::new() };
        let wait = if self.eat(Kw::NOWAIT) {
            LockWait::NoWait
        } else if self.eat_all(&[Kw::SKIP, Kw::LOCKED]) {
            LockWait::SkipLocked
        } else {
            LockWait::Wait
        };
        Ok(Some(Locking { exclusive, of, wait }))
    }
    /// `INTO @a, @b | OUTFILE … | DUMPFILE …`, at most once in a query.
    fn into(&mut self, into: &mut Option<Into>) -> Result<()> {
        if !self.is(Kw::INTO) {
            return Ok(());
        }
        if into.is_some() {
            return Err(self.unexpected());
        }
        self.bump();
        *into = Some(if self.eat(Kw::OUTFILE) {
            let file = self.string()?;
            self.outfile_options()?;
            Into::Outfile(file)
        } else if self.eat(Kw::DUMPFILE) {
            Into::Dumpfile(self.string()?)
        } else {
            Into::Vars(self.list(|p| {
                if !p.at(Tok::AtName) {
                    return Err(p.unexpected());
                }
                let name = p.name_of(p.tok)?;
                p.bump();
                Ok(name)
            })?)
        });
        Ok(())
    }
    /// FIELDS and LINES of OUTFILE (the file itself is refused later).
    fn outfile_options(&mut self) -> Result<()> {
        if self.eat(Kw::CHARACTER) {
            self.need(Kw::SET)?;
            self.charset_name()?;
        }
        loop {
            match self.tok.kw {
                Kw::FIELDS | Kw::COLUMNS | Kw::LINES | Kw::OPTIONALLY => self.bump(),
                Kw::TERMINATED | Kw::ENCLOSED | Kw::ESCAPED | Kw::STARTING => {
                    self.bump();
                    self.need(Kw::BY)?;
                    self.text_literal()?;
                }
                _ => return Ok(()),
            }
        }
    }

    /// A window's frame: `ROWS|RANGE bound` or `… BETWEEN bound AND bound`.
    pub(super) fn frame(&mut self) -> Result<Option<Frame>> {
        let rows = match self.tok.kw {
            Kw::ROWS => true,
            Kw::RANGE => false,
            Kw::GROUPS => return Err(SqlError::unsupported("GROUPS")),
            _ => return Ok(None),
        };
        self.bump();
        let frame = if self.eat(Kw::BETWEEN) {
            let start = self.frame_bound()?;
            self.need(Kw::AND)?;
            Frame {
                rows,
                start,
                end: Some(self.frame_bound()?),
            }
        } else {
            Frame {
                rows,
                start: self.frame_bound()?,
                end: None,
            }
        };
        if self.is(Kw::EXCLUDE) {
            return Err(SqlError::unsupported("EXCLUDE"));
        }
        Ok(Some(frame))
    }
    fn frame_bound(&mut self) -> Result<FrameBound> {
        if self.eat(Kw::UNBOUNDED) {
            if self.eat(Kw::PRECEDING) {
                return Ok(FrameBound::UnboundedPreceding);
            }
            self.need(Kw::FOLLOWING)?;
            return Ok(FrameBound::UnboundedFollowing);
        }
        if self.eat_all(&[Kw::CURRENT, Kw::ROW]) {
            return Ok(FrameBound::CurrentRow);
        }
        let amount = if self.is(Kw::INTERVAL) { self.interval()? } else { self.simple()? };
        if self.eat(Kw::PRECEDING) {
            return Ok(FrameBound::Preceding(amount));
        }
        self.need(Kw::FOLLOWING)?;
        Ok(FrameBound::Following(amount))
    }
}

fn plain(body: SetExpr) -> Query {
    Query {
        with: None,
        body,
        order_by: Vec::new(),
        limit: None,
        locking: Vec::new(),
        into: None,
    }
}

/// A parenthesized query as an operand: parentheses that hold nothing but a body are dropped.
fn operand(query: Query) -> SetExpr {
    let bare =
        query.with.is_none() && query.order_by.is_empty() && query.limit.is_none() && query.locking.is_empty() && query.into.is_none();
    if bare { query.body } else { SetExpr::Query(Box::new(query)) }
}
