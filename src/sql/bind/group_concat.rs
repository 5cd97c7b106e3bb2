//! GROUP_CONCAT as SQLite text.

use crate::sql::func::Function;
use crate::sql::lower;
use crate::sql::types::Ty;

/// The call. SQLite takes DISTINCT with one argument only: the separator then goes around a list of the values.
pub(crate) fn call(function: &Function, sql: &str, separator: &str, distinct: bool, order: &[String], types: &[Ty], result: &Ty) -> String {
    let order = if order.is_empty() {
        String::new()
    } else {
        format!(" ORDER BY {}", order.join(","))
    };
    if distinct {
        return format!("starling_join(json_group_array({sql}{order}),{})", lower::string(separator));
    }
    let call = function.call(&[sql.to_string(), lower::string(separator)], types, result);
    match call.strip_suffix(')') {
        Some(open) => format!("{open}{order})"),
        None => call,
    }
}
