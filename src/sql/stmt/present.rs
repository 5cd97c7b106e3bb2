//! stub
use crate::sql::ast::{Show, TableName};
use crate::sql::error::Result;
use crate::sql::result::*;
use crate::sql::session::{Inputs, Session};
pub async fn run(_: &mut Session, _: &[u8], _: &Show, _: &Inputs<'_>, _: &mut dyn Sink) -> Result<Done> {
    Ok(Done::default())
}
pub async fn describe(_: &mut Session, _: &[u8], _: &TableName, _: Option<&[u8]>, _: &Inputs<'_>, _: &mut dyn Sink) -> Result<Done> {
    Ok(Done::default())
}
pub fn columns(_: &Session, _: &Show) -> Result<Vec<ResultColumn>> {
    Ok(Vec::new())
}
pub fn is_diagnostic(_: &Show) -> bool {
    false
}
