//! Column types as DDL writes them.
//!
//! Promises: synonyms are resolved (`ast::TypeName`). Must not know: which lengths are legal.

use super::{Parser, Result};
use crate::sql::ast::TypeName;
use crate::sql::lex::{Kw, Tok, decode_string};

impl Parser<'_> {
    pub(super) fn type_name(&mut self) -> Result<TypeName> {
        let word = self.tok;
        if !self.at(Tok::Word) {
            return Err(self.unexpected());
        }
        self.bump();
        let mut ty = TypeName::default();
        let name = self.type_word(word.kw, &mut ty)?;
        let name = match name {
            Some(name) => name.to_string(),
            None => {
                let mut own = self.name_of(word)?;
                own.make_ascii_lowercase();
                if !is_type(&own) {
                    return Err(self.syntax_at(word.start));
                }
                own
            }
        };
        ty.name = name;
        if matches!(ty.name.as_str(), "enum" | "set") {
            ty.labels = self.paren_list(|p| {
                if p.at(Tok::Hex) || p.at(Tok::Bits) {
                    return p.text_literal();
                }
                if !p.at(Tok::Str) && !p.at(Tok::National) {
                    return Err(p.unexpected());
                }
                let label = decode_string(p.source(p.tok), p.tok.plain, p.mode);
                p.bump();
                Ok(label)
            })?;
        } else if ty.args.is_empty() && self.eat_tok(Tok::LParen) {
            ty.args = self.list(Self::type_arg)?;
            self.need_tok(Tok::RParen)?;
        }
        if ty.name == "float" && ty.args.len() == 1 {
            if ty.args[0] > 24 {
                ty.name = "double".into();
            }
            ty.args.clear();
        }
        self.type_attributes(&mut ty)?;
        Ok(ty)
    }
    /// Lengths beyond u32 are cut there (every length MySQL allows fits).
    fn type_arg(&mut self) -> Result<u32> {
        let value = self.integer()?;
        Ok(u32::try_from(value).unwrap_or(u32::MAX))
    }
    /// The canonical name where the word is a synonym or takes more words.
    fn type_word(&mut self, kw: Kw, ty: &mut TypeName) -> Result<Option<&'static str>> {
        Ok(Some(match kw {
            Kw::INT | Kw::INTEGER | Kw::INT4 => "int",
            Kw::INT1 => "tinyint",
            Kw::INT2 => "smallint",
            Kw::INT3 | Kw::MIDDLEINT => "mediumint",
            Kw::INT8 => "bigint",
            Kw::BOOL | Kw::BOOLEAN => {
                ty.args.push(1);
                "tinyint"
            }
            Kw::DEC | Kw::NUMERIC | Kw::FIXED => "decimal",
            Kw::FLOAT4 => "float",
            Kw::FLOAT8 => "double",
            Kw::REAL if self.mode.real_as_float => "float",
            Kw::REAL | Kw::DOUBLE => {
                self.eat(Kw::PRECISION);
                "double"
            }
            Kw::CHAR | Kw::CHARACTER => {
                if self.eat(Kw::VARYING) {
                    "varchar"
                } else {
                    "char"
                }
            }
            Kw::VARCHARACTER => "varchar",
            Kw::NCHAR | Kw::NATIONAL | Kw::NVARCHAR => self.national_type(kw, ty)?,
            Kw::LONG => {
                if self.eat(Kw::VARBINARY) {
                    "mediumblob"
                } else {
                    if self.eat(Kw::CHAR) || self.eat(Kw::CHARACTER) {
                        self.need(Kw::VARYING)?;
                    } else {
                        self.eat(Kw::VARCHAR);
                    }
                    "mediumtext"
                }
            }
            _ => return Ok(None),
        }))
    }
    fn national_type(&mut self, kw: Kw, ty: &mut TypeName) -> Result<&'static str> {
        ty.charset = Some("utf8mb3".into());
        if kw == Kw::NVARCHAR {
            return Ok("varchar");
        }
        if kw == Kw::NCHAR {
            let varying = self.eat(Kw::VARYING) || self.eat(Kw::VARCHAR);
            return Ok(if varying { "varchar" } else { "char" });
        }
        if self.eat(Kw::VARCHAR) || self.eat(Kw::VARCHARACTER) {
            return Ok("varchar");
        }
        if !self.eat(Kw::CHAR) {
            self.need(Kw::CHARACTER)?;
        }
        Ok(if self.eat(Kw::VARYING) { "varchar" } else { "char" })
    }
    fn type_attributes(&mut self, ty: &mut TypeName) -> Result<()> {
        loop {
            match self.tok.kw {
                Kw::UNSIGNED => ty.unsigned = true,
                Kw::SIGNED => {}
                Kw::ZEROFILL => {
                    ty.zerofill = true;
                    ty.unsigned = true;
                }
                Kw::ASCII => ty.charset = Some("latin1".into()),
                Kw::UNICODE => ty.charset = Some("ucs2".into()),
                Kw::BINARY if is_text(&ty.name) => ty.binary = true,
                Kw::BYTE if is_text(&ty.name) => {
                    ty.name = binary_twin(&ty.name).into();
                }
                Kw::CHARSET => {
                    self.bump();
                    ty.charset = Some(self.charset_name()?);
                    continue;
                }
                Kw::CHARACTER | Kw::CHAR if self.peek().kw == Kw::SET => {
                    self.bump();
                    self.bump();
                    ty.charset = Some(self.charset_name()?);
                    continue;
                }
                Kw::COLLATE => {
                    self.bump();
                    ty.collation = Some(self.collation_name()?);
                    continue;
                }
                // MariaDB's compressed columns: a matter of storage
                Kw::COMPRESSED => {}
                _ => return Ok(()),
            }
            self.bump();
        }
    }
}

fn is_text(name: &str) -> bool {
    matches!(
        name,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set"
    )
}

fn binary_twin(name: &str) -> &'static str {
    match name {
        "char" => "binary",
        "varchar" => "varbinary",
        "tinytext" => "tinyblob",
        "text" => "blob",
        "mediumtext" => "mediumblob",
        _ => "longblob",
    }
}

fn is_type(name: &str) -> bool {
    matches!(
        name,
        "tinyint"
            | "smallint"
            | "mediumint"
            | "bigint"
            | "decimal"
            | "float"
            | "bit"
            | "varchar"
            | "binary"
            | "varbinary"
            | "tinyblob"
            | "blob"
            | "mediumblob"
            | "longblob"
            | "tinytext"
            | "text"
            | "mediumtext"
            | "longtext"
            | "enum"
            | "set"
            | "date"
            | "time"
            | "datetime"
            | "timestamp"
            | "year"
            | "json"
            | "serial"
            | "geometry"
            | "point"
            | "linestring"
            | "polygon"
            | "multipoint"
            | "multilinestring"
            | "multipolygon"
            | "geometrycollection"
            | "geomcollection"
            | "vector"
            | "uuid"
            | "inet4"
            | "inet6"
    )
}
