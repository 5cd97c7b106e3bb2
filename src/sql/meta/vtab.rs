//! The virtual table module of SQLite behind every system table: rows are made when a cursor is opened.
//!
//! Promises: within one statement (see `meta::enter`) a table's rows are made once. Must not know: what the rows mean.

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_int};
use std::marker::PhantomData;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;
use rusqlite::ffi::{sqlite3_vtab, sqlite3_vtab_cursor};
use rusqlite::types::Null;
use rusqlite::vtab::{Context, Filters, IndexInfo, Module, VTab, VTabConnection, VTabCursor};
use starling_apply::{Database, Table};
use starling_log::Value;

use super::{Provider, View, current, define};

type Rows = Arc<Vec<Vec<Value>>>;

/// What a module is made from.
pub struct Source {
    database: Arc<Database>,
    table: Arc<Table>,
    provider: Arc<dyn Provider>,
}

const MODULE: Module<'static, SystemTable> = Module::eponymous_only_module();

pub fn register(connection: &Connection, provider: &Arc<dyn Provider>) -> rusqlite::Result<()> {
    for database in define::system_databases() {
        for table in database.tables.values() {
            let source = Source {
                database: database.clone(),
                table: table.clone(),
                provider: provider.clone(),
            };
            connection.create_module(table.name.as_str(), &MODULE, Some(Arc::new(source)))?;
        }
    }
    Ok(())
}

#[repr(C)]
pub struct SystemTable {
    base: sqlite3_vtab,
    source: Option<Arc<Source>>,
    /// The rows of the statement with this number.
    made: Mutex<(u64, Option<Rows>)>,
}

// SAFETY: `base` is the first field of a `repr(C)` struct, as SQLite asks for.
unsafe impl<'vtab> VTab<'vtab> for SystemTable {
    type Aux = Arc<Source>;
    type Cursor = SystemCursor<'vtab>;

    fn connect(
        _: &mut VTabConnection,
        aux: Option<&Arc<Source>>,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let columns: Vec<String> = aux
            .map(|s| s.table.columns.iter().map(|c| declaration(&c.name, c.ty.is_integer())).collect())
            .unwrap_or_default();
        let schema = format!("CREATE TABLE x({})", columns.join(", "));
        let table = SystemTable {
            base: sqlite3_vtab::default(),
            source: aux.cloned(),
            made: Mutex::new((0, None)),
        };
        let schema = CString::new(schema).map_err(|e| rusqlite::Error::ModuleError(e.to_string()))?;
        Ok((Cow::Owned(schema), table))
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        info.set_estimated_cost(1000.0);
        info.set_estimated_rows(1000);
        Ok(true)
    }

    fn open(&'vtab mut self) -> rusqlite::Result<SystemCursor<'vtab>> {
        Ok(SystemCursor {
            base: sqlite3_vtab_cursor::default(),
            rows: Arc::new(Vec::new()),
            at: 0,
            table: self as *const SystemTable,
            life: PhantomData,
        })
    }
}

fn declaration(name: &str, integer: bool) -> String {
    let ty = if integer { "INTEGER" } else { "TEXT" };
    format!("\"{name}\" {ty}")
}

impl SystemTable {
    fn rows(&self) -> Rows {
        let Some(source) = &self.source else {
            return Arc::new(Vec::new());
        };
        let (statement, view) = current();
        let mut made = self.made.lock();
        if let (number, Some(rows)) = &*made
            && *number == statement
            && statement != 0
        {
            return rows.clone();
        }
        let view = view.unwrap_or_else(|| Arc::new(View::default()));
        let rows = Arc::new(super::rows(&source.database, &source.table, source.provider.as_ref(), &view));
        *made = (statement, (statement != 0).then(|| rows.clone()));
        rows
    }
}

#[repr(C)]
pub struct SystemCursor<'vtab> {
    base: sqlite3_vtab_cursor,
    rows: Rows,
    at: usize,
    table: *const SystemTable,
    life: PhantomData<&'vtab SystemTable>,
}

// SAFETY: `base` is the first field of a `repr(C)` struct, as SQLite asks for.
unsafe impl VTabCursor for SystemCursor<'_> {
    fn filter(&mut self, _: c_int, _: Option<&str>, _: &Filters<'_>) -> rusqlite::Result<()> {
        // SAFETY: SQLite keeps the table alive as long as any of its cursors.
        self.rows = unsafe { &*self.table }.rows();
        self.at = 0;
        Ok(())
    }
    fn next(&mut self) -> rusqlite::Result<()> {
        self.at += 1;
        Ok(())
    }
    fn eof(&self) -> bool {
        self.at >= self.rows.len()
    }
    fn column(&self, context: &mut Context, column: c_int) -> rusqlite::Result<()> {
        let row = self.rows.get(self.at);
        match row.and_then(|r| r.get(column as usize)) {
            None | Some(Value::Null) => context.set_result(Null),
            Some(Value::Int(v)) => context.set_result(v),
            Some(Value::Real(v)) => context.set_result(v),
            Some(Value::Text(v)) => context.set_result(String::from_utf8_lossy(v).as_ref()),
            Some(Value::Blob(v)) => context.set_result(v),
        }
    }
    fn rowid(&self) -> rusqlite::Result<i64> {
        Ok(self.at as i64)
    }
}
