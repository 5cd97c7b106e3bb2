//! XA statements.

use super::{Parser, Result};
use crate::sql::ast::{Statement, Xa, Xid};
use crate::sql::lex::{Kw, Tok, decode_bits, decode_hex};
use crate::txn::xa::xid::PART_MAX;

impl Parser<'_> {
    pub(super) fn xa(&mut self) -> Result<Statement> {
        self.bump();
        let kw = self.tok.kw;
        let xa = match kw {
            Kw::START | Kw::BEGIN => {
                self.bump();
                let xid = self.xid()?;
                let join = self.eat(Kw::JOIN);
                let resume = !join && self.eat_word("RESUME");
                Xa::Start { xid, join, resume }
            }
            Kw::PREPARE => {
                self.bump();
                Xa::Prepare(self.xid()?)
            }
            Kw::COMMIT => {
                self.bump();
                let xid = self.xid()?;
                let one_phase = self.eat_word("ONE");
                if one_phase && !self.eat_word("PHASE") {
                    return Err(self.unexpected());
                }
                Xa::Commit { xid, one_phase }
            }
            Kw::ROLLBACK => {
                self.bump();
                Xa::Rollback(self.xid()?)
            }
            _ if self.eat_word("END") => {
                let xid = self.xid()?;
                let suspend = self.eat_word("SUSPEND");
                if suspend && self.eat(Kw::FOR) && !self.eat_word("MIGRATE") {
                    return Err(self.unexpected());
                }
                Xa::End { xid, suspend }
            }
            _ if self.eat_word("RECOVER") => {
                let convert = self.eat(Kw::CONVERT);
                if convert && !self.eat_word("XID") {
                    return Err(self.unexpected());
                }
                Xa::Recover { convert }
            }
            _ => return Err(self.unexpected()),
        };
        Ok(Statement::Xa(xa))
    }
    /// `gtrid [, bqual [, format]]`
    fn xid(&mut self) -> Result<Xid> {
        let gtrid = self.xid_part()?;
        let (mut bqual, mut format) = (Vec::new(), 1);
        if self.eat_tok(Tok::Comma) {
            bqual = self.xid_part()?;
            if self.eat_tok(Tok::Comma) {
                format = self.xid_format()?;
            }
        }
        Ok(Xid { gtrid, bqual, format })
    }
    /// Digits; drivers for Java write hexadecimal ones.
    fn xid_format(&mut self) -> Result<i64> {
        let start = self.tok.start;
        let number = if self.at(Tok::Hex) {
            let bytes = decode_hex(self.source(self.tok));
            self.bump();
            let fits = bytes.len() <= 8;
            fits.then(|| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
        } else {
            Some(self.integer()?)
        };
        number.and_then(|n| i64::try_from(n).ok()).ok_or_else(|| self.syntax_at(start))
    }
    /// A string, or its bytes in hexadecimal digits or bits; at most 64 bytes.
    fn xid_part(&mut self) -> Result<Vec<u8>> {
        let start = self.tok.start;
        let decode = match self.tok.tok {
            Tok::Hex => decode_hex,
            Tok::Bits => decode_bits,
            _ => {
                let bytes = self.string()?;
                return if bytes.len() > PART_MAX {
                    Err(self.syntax_at(start))
                } else {
                    Ok(bytes)
                };
            }
        };
        let bytes = decode(self.source(self.tok));
        if bytes.len() > PART_MAX {
            return Err(self.unexpected());
        }
        self.bump();
        Ok(bytes)
    }
}
