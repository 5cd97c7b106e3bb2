//! What a result's columns are called and flagged, as clients read it from the column definitions.

use super::Binder;
use super::query::OutColumn;
use crate::sql::result::ResultColumn;
use starling_apply::Table;
use starling_apply::catalog::{DefaultValue, IndexKind};

impl Binder<'_> {
    pub(crate) fn result_columns(&self, columns: &[OutColumn]) -> Vec<ResultColumn> {
        columns.iter().map(|c| self.result_column(c)).collect()
    }

    fn result_column(&self, column: &OutColumn) -> ResultColumn {
        let mut out = ResultColumn {
            schema: String::new(),
            table: String::new(),
            org_table: String::new(),
            name: column.name.clone(),
            org_name: String::new(),
            ty: column.ty.ty.clone(),
            null_type: column.ty.is_null,
            not_null: !column.ty.nullable,
            primary_key: false,
            unique_key: false,
            multiple_key: false,
            auto_increment: false,
            no_default: false,
            on_update_now: false,
        };
        let Some((source, index)) = column.origin else { return out };
        out.table = self.sources[source].alias.clone();
        let (mut source, mut index) = (source, index);
        while let Some((s, i)) = self.sources[source].columns[index].origin {
            (source, index) = (s, i);
        }
        let base = &self.sources[source];
        let Some(table) = &base.table else {
            out.org_name = base.columns[index].name.clone();
            return out;
        };
        out.schema = base.db.clone().unwrap_or_default();
        out.org_table = table.name.clone();
        out.org_name = table.columns[index].name.clone();
        flags(&mut out, table, index);
        out
    }
}

/// Key flags and what the column's definition says of defaults.
pub(crate) fn flags(out: &mut ResultColumn, table: &Table, index: usize) {
    let column = &table.columns[index];
    for key in &table.indexes {
        let Some(at) = key.parts.iter().position(|p| p.column == column.id) else {
            continue;
        };
        match key.kind {
            IndexKind::Primary => out.primary_key = true,
            IndexKind::Unique if key.parts.len() == 1 => out.unique_key = true,
            _ if at == 0 => out.multiple_key = true,
            _ => {}
        }
    }
    out.auto_increment = column.auto_increment;
    out.on_update_now = column.on_update_now;
    out.no_default = !column.nullable && column.default == DefaultValue::None && !column.auto_increment && column.generated.is_none();
}
