//! Operators: MySQL's precedence, as its grammar has it (expr → bool_pri → predicate → bit_expr → simple_expr), as one Pratt loop.
//!
//! Promises: long AND/OR/XOR chains give a balanced tree, every other chain is bounded by `MAX_HEIGHT`.
//! Must not know: what stands between the operators (`primary`).

use super::{MAX_HEIGHT, Parser, Result, too_deep};
use crate::sql::ast::{BinaryOp, CastType, Expr, Quantifier, UnaryOp};
use crate::sql::lex::{Kw, Tok};

/// Binding strength, weakest first.
pub(super) const OR: u8 = 1;
const XOR: u8 = 2;
const AND: u8 = 3;
const NOT: u8 = 4;
const COMPARE: u8 = 5;
/// IN, BETWEEN, LIKE …: what stands right of a comparison.
const PREDICATE: u8 = 6;
/// `bit_expr` of the grammar.
pub(super) const BIT_OR: u8 = 7;
const BIT_AND: u8 = 8;
const SHIFT: u8 = 9;
const ADD: u8 = 10;
const MUL: u8 = 11;
const BIT_XOR: u8 = 12;
const CONCAT: u8 = 13;
/// Unary operators, BINARY, `!`
pub(super) const UNARY: u8 = 14;
const COLLATE: u8 = 15;
const TOP: u8 = 16;

/// Chains of AND, OR, XOR longer than this become balanced trees.
const CHAIN: usize = 32;

enum Op {
    Binary(BinaryOp),
    Is,
    Predicate,
    Collate,
    Arrow(BinaryOp),
}

impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Result<Expr> {
        self.expr_bp(OR)
    }
    pub(super) fn boxed(&mut self) -> Result<Box<Expr>> {
        self.expr_bp(OR).map(Box::new)
    }
    pub(super) fn boxed_bp(&mut self, min: u8) -> Result<Box<Expr>> {
        self.expr_bp(min).map(Box::new)
    }
    /// An expression whose operators all bind at least as `min`.
    pub(super) fn expr_bp(&mut self, min: u8) -> Result<Expr> {
        self.enter()?;
        let outer = std::mem::take(&mut self.height);
        let expr = if self.is(Kw::NOT) && !self.mode.high_not_precedence {
            if min > NOT {
                return Err(self.unexpected());
            }
            self.bump();
            let expr = self.boxed_bp(NOT)?;
            self.infix(Expr::Unary { op: UnaryOp::Not, expr }, min, AND)?
        } else {
            let left = self.primary()?;
            self.infix(left, min, TOP)?
        };
        self.height = outer.max(self.height + 1);
        self.leave();
        Ok(expr)
    }
    /// Goes on with an expression whose first operand is parsed already.
    pub(super) fn expr_from(&mut self, left: Expr, min: u8) -> Result<Expr> {
        self.enter()?;
        let expr = self.infix(left, min, TOP)?;
        self.height += 1;
        self.leave();
        Ok(expr)
    }

    /// The loop over operators between `min` and `ceiling` (operators above it would have been taken, or may not follow).
    fn infix(&mut self, mut left: Expr, min: u8, mut ceiling: u8) -> Result<Expr> {
        while let Some((level, op)) = self.operator() {
            if level < min || level > ceiling {
                break;
            }
            self.height += 1;
            if self.height > MAX_HEIGHT {
                return Err(too_deep());
            }
            ceiling = level;
            left = match op {
                Op::Binary(op) if level <= AND => self.chain(left, op, level)?,
                Op::Binary(op) if level == COMPARE => self.comparison(left, op)?,
                Op::Binary(op @ (BinaryOp::Add | BinaryOp::Sub)) => self.additive(left, op)?,
                Op::Binary(op) => {
                    self.bump();
                    binary(op, left, self.expr_bp(level + 1)?)
                }
                Op::Is => {
                    let truth = self.is_test(left)?;
                    if matches!(truth, Expr::IsTruth { .. }) {
                        ceiling = AND;
                    }
                    truth
                }
                Op::Predicate => {
                    ceiling = COMPARE;
                    self.predicate(left)?
                }
                Op::Collate => self.collate(left)?,
                Op::Arrow(op) => self.json_path(left, op)?,
            };
        }
        Ok(left)
    }

    /// The operator that stands here, if one does.
    fn operator(&self) -> Option<(u8, Op)> {
        let (level, op) = match self.tok.tok {
            Tok::Word => return self.word_operator(),
            Tok::PipePipe if self.mode.pipes_as_concat => (CONCAT, BinaryOp::Concat),
            Tok::PipePipe => (OR, BinaryOp::Or),
            Tok::AmpAmp => (AND, BinaryOp::And),
            Tok::Eq => (COMPARE, BinaryOp::Eq),
            Tok::NullEq => (COMPARE, BinaryOp::NullSafeEq),
            Tok::Ne => (COMPARE, BinaryOp::Ne),
            Tok::Lt => (COMPARE, BinaryOp::Lt),
            Tok::Le => (COMPARE, BinaryOp::Le),
            Tok::Gt => (COMPARE, BinaryOp::Gt),
            Tok::Ge => (COMPARE, BinaryOp::Ge),
            Tok::Pipe => (BIT_OR, BinaryOp::BitOr),
            Tok::Amp => (BIT_AND, BinaryOp::BitAnd),
            Tok::Shl => (SHIFT, BinaryOp::ShiftLeft),
            Tok::Shr => (SHIFT, BinaryOp::ShiftRight),
            Tok::Plus => (ADD, BinaryOp::Add),
            Tok::Minus => (ADD, BinaryOp::Sub),
            Tok::Star => (MUL, BinaryOp::Mul),
            Tok::Slash => (MUL, BinaryOp::Div),
            Tok::Percent => (MUL, BinaryOp::Mod),
            Tok::Caret => (BIT_XOR, BinaryOp::BitXor),
            Tok::Arrow => return Some((TOP, Op::Arrow(BinaryOp::JsonExtract))),
            Tok::LongArrow => return Some((TOP, Op::Arrow(BinaryOp::JsonUnquote))),
            _ => return None,
        };
        Some((level, Op::Binary(op)))
    }
    fn word_operator(&self) -> Option<(u8, Op)> {
        Some(match self.tok.kw {
            Kw::OR => (OR, Op::Binary(BinaryOp::Or)),
            Kw::XOR => (XOR, Op::Binary(BinaryOp::Xor)),
            Kw::AND => (AND, Op::Binary(BinaryOp::And)),
            Kw::IS => (COMPARE, Op::Is),
            Kw::IN | Kw::BETWEEN | Kw::LIKE | Kw::REGEXP | Kw::RLIKE => (PREDICATE, Op::Predicate),
            Kw::NOT if matches!(self.peek().kw, Kw::IN | Kw::BETWEEN | Kw::LIKE | Kw::REGEXP | Kw::RLIKE) => (PREDICATE, Op::Predicate),
            Kw::SOUNDS if self.peek().kw == Kw::LIKE => (PREDICATE, Op::Predicate),
            Kw::MEMBER if self.peek().kw == Kw::OF || self.peek().tok == Tok::LParen => (PREDICATE, Op::Predicate),
            Kw::DIV => (MUL, Op::Binary(BinaryOp::IntDiv)),
            Kw::MOD => (MUL, Op::Binary(BinaryOp::Mod)),
            Kw::COLLATE => (COLLATE, Op::Collate),
            _ => return None,
        })
    }

    /// AND, OR, XOR: all operands of the same operator at once.
    fn chain(&mut self, left: Expr, op: BinaryOp, level: u8) -> Result<Expr> {
        self.bump();
        let second = self.expr_bp(level + 1)?;
        if !self.operator_is(op) {
            return Ok(binary(op, left, second));
        }
        let mut operands = vec![left, second];
        while self.operator_is(op) {
            self.bump();
            operands.push(self.expr_bp(level + 1)?);
        }
        self.height += operands.len().min(CHAIN) as u32;
        if self.height > MAX_HEIGHT {
            return Err(too_deep());
        }
        Ok(join(op, operands))
    }
    fn operator_is(&self, wanted: BinaryOp) -> bool {
        matches!(self.operator(), Some((_, Op::Binary(op))) if op == wanted)
    }
    fn comparison(&mut self, left: Expr, op: BinaryOp) -> Result<Expr> {
        self.bump();
        let quantifier = match self.tok.kw {
            Kw::ANY | Kw::SOME => Some(Quantifier::Any),
            Kw::ALL => Some(Quantifier::All),
            _ => None,
        };
        if let Some(quantifier) = quantifier
            && self.peek().tok == Tok::LParen
        {
            self.bump();
            return Ok(Expr::Quantified {
                op,
                left: Box::new(left),
                quantifier,
                query: Box::new(self.paren_query()?),
            });
        }
        Ok(binary(op, left, self.expr_bp(PREDICATE)?))
    }
    fn additive(&mut self, left: Expr, op: BinaryOp) -> Result<Expr> {
        self.bump();
        if !self.is(Kw::INTERVAL) {
            return Ok(binary(op, left, self.expr_bp(MUL)?));
        }
        match self.interval()? {
            Expr::Interval { amount, unit } => Ok(Expr::DateArith {
                expr: Box::new(left),
                amount,
                unit,
                subtract: op == BinaryOp::Sub,
            }),
            call => Ok(binary(op, left, self.expr_from(call, MUL)?)),
        }
    }
    fn is_test(&mut self, left: Expr) -> Result<Expr> {
        self.bump();
        let negated = self.eat(Kw::NOT);
        let expr = Box::new(left);
        let truth = match self.tok.kw {
            Kw::NULL => {
                self.bump();
                return Ok(Expr::IsNull { expr, negated });
            }
            Kw::TRUE => Some(true),
            Kw::FALSE => Some(false),
            Kw::UNKNOWN => None,
            _ => return Err(self.unexpected()),
        };
        self.bump();
        Ok(Expr::IsTruth { expr, truth, negated })
    }
    fn predicate(&mut self, left: Expr) -> Result<Expr> {
        let negated = self.eat(Kw::NOT);
        let kw = self.tok.kw;
        self.bump();
        let expr = Box::new(left);
        Ok(match kw {
            Kw::IN => return self.in_list(expr, negated),
            Kw::BETWEEN => {
                let low = self.boxed_bp(BIT_OR)?;
                self.need(Kw::AND)?;
                Expr::Between {
                    expr,
                    low,
                    high: self.boxed_bp(PREDICATE)?,
                    negated,
                }
            }
            Kw::LIKE => {
                let pattern = self.boxed_bp(BIT_OR)?;
                let escape = if self.eat(Kw::ESCAPE) { Some(self.boxed_bp(BIT_OR)?) } else { None };
                Expr::Like {
                    expr,
                    pattern,
                    escape,
                    negated,
                }
            }
            Kw::SOUNDS => {
                self.need(Kw::LIKE)?;
                Expr::SoundsLike {
                    left: expr,
                    right: self.boxed_bp(BIT_OR)?,
                }
            }
            Kw::MEMBER => {
                self.eat(Kw::OF);
                self.need_tok(Tok::LParen)?;
                let array = self.boxed()?;
                self.need_tok(Tok::RParen)?;
                Expr::MemberOf { expr, array }
            }
            _ => Expr::Regexp {
                expr,
                pattern: self.boxed_bp(BIT_OR)?,
                negated,
            },
        })
    }
    fn collate(&mut self, left: Expr) -> Result<Expr> {
        self.bump();
        Ok(Expr::Collate {
            expr: Box::new(left),
            collation: self.collation_name()?,
        })
    }
    /// `column->'$.path'`
    fn json_path(&mut self, left: Expr, op: BinaryOp) -> Result<Expr> {
        if !matches!(left, Expr::Column { .. }) {
            return Err(self.unexpected());
        }
        self.bump();
        if !self.at(Tok::Str) {
            return Err(self.unexpected());
        }
        let path = self.literal()?;
        Ok(binary(op, left, path))
    }
    pub(super) fn unary(&mut self, op: UnaryOp) -> Result<Expr> {
        self.bump();
        Ok(Expr::Unary {
            op,
            expr: self.boxed_bp(UNARY)?,
        })
    }
    pub(super) fn binary_cast(&mut self) -> Result<Expr> {
        Ok(Expr::Cast {
            expr: self.boxed_bp(UNARY)?,
            to: CastType::Binary { length: None },
        })
    }
    /// At INTERVAL: `INTERVAL e unit`, or the function INTERVAL(a, b …).
    pub(super) fn interval(&mut self) -> Result<Expr> {
        let start = self.tok.start;
        self.bump();
        let amount = if self.at(Tok::LParen) {
            let inner = match self.paren()? {
                Expr::Row(args) => return Ok(self.simple_call("interval", args, start)),
                inner => inner,
            };
            Box::new(self.expr_from(inner, OR)?)
        } else {
            self.boxed()?
        };
        let unit = self.interval_unit()?;
        Ok(Expr::Interval { amount, unit })
    }
    /// An operand that starts with INTERVAL: the function, or `INTERVAL e unit + date`.
    pub(super) fn interval_operand(&mut self) -> Result<Expr> {
        match self.interval()? {
            Expr::Interval { amount, unit } => {
                self.need_tok(Tok::Plus)?;
                Ok(Expr::DateArith {
                    expr: self.boxed_bp(MUL)?,
                    amount,
                    unit,
                    subtract: false,
                })
            }
            call => Ok(call),
        }
    }
}

fn binary(op: BinaryOp, left: Expr, right: Expr) -> Expr {
    Expr::Binary {
        op,
        left: Box::new(left),
        right: Box::new(right),
    }
}

/// Left-deep while short; balanced when long (the operators that come here are associative).
fn join(op: BinaryOp, mut operands: Vec<Expr>) -> Expr {
    if operands.len() > CHAIN {
        let right = operands.split_off(operands.len() / 2);
        return binary(op, join(op, operands), join(op, right));
    }
    let mut rest = operands.into_iter();
    let Some(first) = rest.next() else {
        return Expr::Row(Vec::new());
    };
    rest.fold(first, |left, right| binary(op, left, right))
}
