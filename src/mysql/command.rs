//! What a command's bytes mean.

use super::wire::Reader;

/// A client's command, borrowed from its packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Command<'a> {
    Quit,
    InitDb(&'a [u8]),
    Query(&'a [u8]),
    FieldList {
        table: &'a [u8],
        wildcard: &'a [u8],
    },
    /// FLUSH, by bits.
    Refresh(u8),
    Statistics,
    ProcessKill(u32),
    Debug,
    Ping,
    ChangeUser(&'a [u8]),
    Prepare(&'a [u8]),
    Execute(&'a [u8]),
    LongData {
        statement: u32,
        param: u16,
        data: &'a [u8],
    },
    CloseStatement(u32),
    ResetStatement(u32),
    SetOption(u16),
    Fetch {
        statement: u32,
        rows: u32,
    },
    ResetConnection,
    /// 1047
    Unknown(u8),
    /// 1835
    Malformed,
}

impl<'a> Command<'a> {
    pub fn parse(payload: &'a [u8]) -> Command<'a> {
        let Some((code, body)) = payload.split_first() else {
            return Command::Malformed;
        };
        Command::parse_body(*code, body).unwrap_or(Command::Malformed)
    }
    fn parse_body(code: u8, body: &'a [u8]) -> super::wire::Result<Command<'a>> {
        let mut reader = Reader::new(body);
        Ok(match code {
            0x01 => Command::Quit,
            0x02 => Command::InitDb(body),
            0x03 => Command::Query(body),
            0x04 => Command::FieldList {
                table: reader.nul_bytes(),
                wildcard: reader.rest(),
            },
            0x07 => Command::Refresh(reader.u8()?),
            0x09 => Command::Statistics,
            0x0c => Command::ProcessKill(reader.u32()?),
            0x0d => Command::Debug,
            0x0e => Command::Ping,
            0x11 => Command::ChangeUser(body),
            0x16 => Command::Prepare(body),
            0x17 => Command::Execute(body),
            0x18 => Command::LongData {
                statement: reader.u32()?,
                param: reader.u16()?,
                data: reader.rest(),
            },
            0x19 => Command::CloseStatement(reader.u32()?),
            0x1a => Command::ResetStatement(reader.u32()?),
            0x1b => Command::SetOption(reader.u16()?),
            0x1c => Command::Fetch {
                statement: reader.u32()?,
                rows: reader.u32()?,
            },
            0x1f => Command::ResetConnection,
            other => Command::Unknown(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_apart() {
        assert_eq!(Command::parse(b"\x03SELECT 1"), Command::Query(b"SELECT 1"));
        assert_eq!(
            Command::parse(b"\x04t\0c%"),
            Command::FieldList {
                table: b"t",
                wildcard: b"c%"
            }
        );
        assert_eq!(
            Command::parse(b"\x18\x01\0\0\0\x02\0xyz"),
            Command::LongData {
                statement: 1,
                param: 2,
                data: b"xyz"
            }
        );
        assert_eq!(Command::parse(b"\x07\x02"), Command::Refresh(2));
        assert_eq!(Command::parse(b"\xee"), Command::Unknown(0xee));
        assert_eq!(Command::parse(b"\x19\x01"), Command::Malformed);
        assert_eq!(Command::parse(b""), Command::Malformed);
    }
}
