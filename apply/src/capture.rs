//! Capture: what a dry run changed, taken from SQLite's preupdate hook straight into the packed form of an entry.
//!
//! Promises: every row change of a catalog table is seen exactly once and in order (cascades, triggers and REPLACE's implicit
//! deletes included); an UPDATE that changes nothing is counted but not captured; nothing is allocated per row. SQLite does not
//! take events back when a statement fails or a savepoint is rolled back: whoever runs statements marks before and truncates
//! after. Must not know: transactions, the log.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::NonNull;
use std::sync::Arc;

use rusqlite::{Connection, ffi};
use starling_log::value::put_value;
use starling_log::{ChangeRef, Changes, Op, RowRef, TableRef, ValueRef};

use crate::catalog::{Catalog, Table};
use crate::lane::Counts;

/// One more than what is claimed row by row (then it is the table).
const TOUCHED_MAX: u32 = 50_001;
/// SQLite's column number for the rowid of a table without a primary key.
const ROWID: i32 = -1;

/// A position in the capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    bytes: usize,
    count: u32,
    tables: usize,
    touched: (usize, u32, usize),
    pub counts: Counts,
}

/// How the rows of one table become images. Kept as long as the catalog stays the same.
struct Header {
    schema: Box<[u8]>,
    name: Box<[u8]>,
    kind: Kind,
}

enum Kind {
    /// Not in the catalog (bookkeeping, temporary, shadow tables).
    Ignored,
    /// In the catalog, but of a database whose lane is not held.
    Foreign,
    Captured {
        table: TableRef,
        /// By position in `table.columns`: SQLite's column number, or [`ROWID`].
        sources: Vec<i32>,
        /// Index into the current `Changes::tables`.
        slot: Option<u32>,
    },
}

/// Reused between rows.
#[derive(Default)]
struct Scratch {
    key: Vec<u8>,
    before: Vec<u8>,
    after: Vec<u8>,
    /// End offsets of the values in `before`.
    ends: Vec<usize>,
    changed: Vec<u8>,
}

struct State {
    enabled: bool,
    full_image: bool,
    catalog: Arc<Catalog>,
    /// Lower-case names of the databases that may be changed.
    held: Vec<String>,
    headers: Vec<Header>,
    last: usize,
    changes: Changes,
    /// Keys of rows that an UPDATE set to what they were: nothing to log, but whoever did it counts on them. At most
    /// [`TOUCHED_MAX`].
    touched: Changes,
    counts: Counts,
    fault: Option<String>,
    scratch: Scratch,
}

/// The hook of one connection. Keep it as long as the connection (dropped after it).
pub struct Capture {
    state: NonNull<State>,
}

// SAFETY: the state is reached only through the one owner of connection and capture.
unsafe impl Send for Capture {}

impl Capture {
    /// Installs the hook; capturing is off until [`Capture::begin`].
    pub fn install(conn: &Connection, full_image: bool) -> Capture {
        let state = Box::new(State {
            enabled: false,
            full_image,
            catalog: Arc::default(),
            held: Vec::new(),
            headers: Vec::new(),
            last: 0,
            changes: Changes::default(),
            touched: Changes::default(),
            counts: Counts::default(),
            fault: None,
            scratch: Scratch::default(),
        });
        let state = NonNull::from(Box::leak(state));
        // SAFETY: the handle is live; the state outlives the connection by the contract of this type.
        unsafe {
            ffi::sqlite3_preupdate_hook(conn.handle(), Some(preupdate), state.as_ptr().cast::<c_void>());
        }
        Capture { state }
    }

    fn state(&self) -> &State {
        // SAFETY: the hook, the only other user, runs only while SQLite executes, on this same thread, and leaves no reference behind.
        unsafe { self.state.as_ref() }
    }

    fn state_mut(&mut self) -> &mut State {
        // SAFETY: as in `state`.
        unsafe { self.state.as_mut() }
    }

    /// Starts capturing changes of the databases in `held`, under `catalog`.
    pub fn begin(&mut self, catalog: &Arc<Catalog>, held: &[String]) {
        let state = self.state_mut();
        if !Arc::ptr_eq(&state.catalog, catalog) || state.held != held {
            state.catalog = Arc::clone(catalog);
            state.held = held.to_vec();
            state.headers.clear();
            state.last = 0;
        }
        state.reset();
        state.enabled = true;
    }

    /// Stops capturing (bookkeeping follows) and forgets what is there.
    pub fn end(&mut self) {
        let state = self.state_mut();
        state.enabled = false;
        state.reset();
    }

    /// Pauses or resumes without forgetting.
    pub fn enable(&mut self, on: bool) {
        self.state_mut().enabled = on;
    }

    pub fn position(&self) -> Position {
        let state = self.state();
        Position {
            bytes: state.changes.bytes.len(),
            count: state.changes.count,
            tables: state.changes.tables.len(),
            touched: (state.touched.bytes.len(), state.touched.count, state.touched.tables.len()),
            counts: state.counts,
        }
    }

    /// Forgets everything captured since `position`.
    pub fn truncate(&mut self, position: Position) {
        let state = self.state_mut();
        state.changes.bytes.truncate(position.bytes);
        state.changes.count = position.count;
        state.changes.tables.truncate(position.tables);
        state.touched.bytes.truncate(position.touched.0);
        state.touched.count = position.touched.1;
        state.touched.tables.truncate(position.touched.2);
        state.counts = position.counts;
        state.fault = None;
        for header in &mut state.headers {
            if let Kind::Captured { slot, .. } = &mut header.kind {
                *slot = slot.filter(|s| (*s as usize) < position.tables);
            }
        }
    }

    /// What was captured since the last `begin` or `take`.
    pub fn take(&mut self) -> Changes {
        let state = self.state_mut();
        let changes = std::mem::take(&mut state.changes);
        state.reset();
        if state.full_image { changes } else { minimal(&changes) }
    }

    /// What was captured so far, in full images, to be given back: while it is lent nothing may be changed on the connection.
    pub fn lend(&mut self) -> Changes {
        std::mem::take(&mut self.state_mut().changes)
    }
    pub fn give_back(&mut self, changes: Changes) {
        self.state_mut().changes = changes;
    }
    /// Rows that were updated to what they were, by their keys, as if they were deleted; to be given back, too.
    pub fn lend_touched(&mut self) -> Changes {
        std::mem::take(&mut self.state_mut().touched)
    }
    pub fn give_back_touched(&mut self, touched: Changes) {
        self.state_mut().touched = touched;
    }

    pub fn bytes(&self) -> usize {
        self.state().changes.bytes.len()
    }

    /// A change that could not be captured: what ran must be rolled back.
    pub fn fault(&self) -> Option<&str> {
        self.state().fault.as_deref()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // SAFETY: made by `Box::leak` in `install`; the connection is gone, so nobody calls the hook any more.
        drop(unsafe { Box::from_raw(self.state.as_ptr()) });
    }
}

impl State {
    fn reset(&mut self) {
        self.changes = Changes::default();
        self.touched = Changes::default();
        self.counts = Counts::default();
        self.fault = None;
        for header in &mut self.headers {
            if let Kind::Captured { slot, .. } = &mut header.kind {
                *slot = None;
            }
        }
    }

    fn header(&mut self, schema: &[u8], name: &[u8]) -> usize {
        let is = |h: &Header| *h.name == *name && *h.schema == *schema;
        if self.headers.get(self.last).is_some_and(is) {
            return self.last;
        }
        self.last = self.headers.iter().position(is).unwrap_or_else(|| {
            let kind = self.classify(schema, name);
            self.headers.push(Header {
                schema: schema.into(),
                name: name.into(),
                kind,
            });
            self.headers.len() - 1
        });
        self.last
    }

    fn classify(&self, schema: &[u8], name: &[u8]) -> Kind {
        let (Ok(schema), Ok(name)) = (std::str::from_utf8(schema), std::str::from_utf8(name)) else {
            return Kind::Ignored;
        };
        let Some(table) = self.catalog.table(schema, name) else {
            return Kind::Ignored;
        };
        if !self.held.iter().any(|h| h == schema) {
            return Kind::Foreign;
        }
        let (table, sources) = image_shape(table);
        Kind::Captured {
            table,
            sources,
            slot: None,
        }
    }
}

/// The header of a table's row images, and by position SQLite's column number. Virtual generated columns have no stored value
/// and stand in no image.
pub(crate) fn image_shape(table: &Table) -> (TableRef, Vec<i32>) {
    let mut columns = Vec::with_capacity(table.columns.len() + 1);
    let mut sources = Vec::with_capacity(table.columns.len() + 1);
    if table.primary().is_none() {
        columns.push(0);
        sources.push(ROWID);
    }
    for (number, column) in (0..).zip(&table.columns) {
        if column.generated.as_ref().is_none_or(|g| g.stored) {
            columns.push(column.id);
            sources.push(number);
        }
    }
    let position = |id: u32| columns.iter().position(|c| *c == id).and_then(|p| u16::try_from(p).ok());
    let key = table.key_columns().into_iter().filter_map(position).collect();
    let header = TableRef {
        db: table.db,
        table: table.id,
        columns,
        key,
    };
    (header, sources)
}

unsafe extern "C" fn preupdate(
    context: *mut c_void,
    db: *mut ffi::sqlite3,
    op: c_int,
    schema: *const c_char,
    name: *const c_char,
    old_rowid: i64,
    new_rowid: i64,
) {
    // SAFETY: `context` is the state given at `install`; SQLite calls on the thread that executes, and no Rust reference to the
    // state lives across an execution.
    let state = unsafe { &mut *context.cast::<State>() };
    if !state.enabled {
        return;
    }
    // SAFETY: SQLite passes terminated strings.
    let (schema, name) = unsafe { (CStr::from_ptr(schema).to_bytes(), CStr::from_ptr(name).to_bytes()) };
    let header = state.header(schema, name);
    let event = Event {
        db,
        op,
        old_rowid,
        new_rowid,
    };
    if let Err(fault) = state.take_event(header, &event) {
        state.fault.get_or_insert(fault);
    }
}

struct Event {
    db: *mut ffi::sqlite3,
    op: c_int,
    old_rowid: i64,
    new_rowid: i64,
}

impl Event {
    /// Appends the packed old (or new) value of a column.
    fn put(&self, out: &mut Vec<u8>, source: i32, old: bool) -> Result<(), String> {
        if source == ROWID {
            put_value(out, ValueRef::Int(if old { self.old_rowid } else { self.new_rowid }));
            return Ok(());
        }
        let mut value: *mut ffi::sqlite3_value = std::ptr::null_mut();
        // SAFETY: called inside the hook, for a column of its table.
        let rc = unsafe {
            if old {
                ffi::sqlite3_preupdate_old(self.db, source, &mut value)
            } else {
                ffi::sqlite3_preupdate_new(self.db, source, &mut value)
            }
        };
        if rc != ffi::SQLITE_OK || value.is_null() {
            return Err(format!("column {source} of a changed row cannot be read (code {rc})"));
        }
        // SAFETY: SQLite keeps the value until the hook returns.
        put_value(out, unsafe { borrow(value) });
        Ok(())
    }

    fn row(&self, out: &mut Vec<u8>, sources: &[i32], old: bool) -> Result<(), String> {
        out.clear();
        sources.iter().try_for_each(|s| self.put(out, *s, old))
    }

    fn key(&self, out: &mut Vec<u8>, sources: &[i32], key: &[u16], old: bool) -> Result<(), String> {
        out.clear();
        key.iter()
            .try_for_each(|k| self.put(out, sources.get(usize::from(*k)).copied().unwrap_or(ROWID), old))
    }

    fn is_direct(&self) -> bool {
        // SAFETY: inside the hook.
        unsafe { ffi::sqlite3_preupdate_depth(self.db) == 0 }
    }
}

/// SAFETY: `value` must live as long as the result is used.
unsafe fn borrow<'a>(value: *mut ffi::sqlite3_value) -> ValueRef<'a> {
    // SAFETY: by the caller's word; the accessors match the type asked for first.
    unsafe {
        match ffi::sqlite3_value_type(value) {
            ffi::SQLITE_INTEGER => ValueRef::Int(ffi::sqlite3_value_int64(value)),
            ffi::SQLITE_FLOAT => ValueRef::Real(ffi::sqlite3_value_double(value)),
            ffi::SQLITE_TEXT => {
                let text = ffi::sqlite3_value_text(value);
                ValueRef::Text(bytes(text, ffi::sqlite3_value_bytes(value)))
            }
            ffi::SQLITE_BLOB => {
                let blob = ffi::sqlite3_value_blob(value);
                ValueRef::Blob(bytes(blob.cast::<u8>(), ffi::sqlite3_value_bytes(value)))
            }
            _ => ValueRef::Null,
        }
    }
}

/// SAFETY: `len` bytes at `start` must live as long as the result is used.
unsafe fn bytes<'a>(start: *const u8, len: c_int) -> &'a [u8] {
    match usize::try_from(len) {
        // SAFETY: by the caller's word.
        Ok(len) if len > 0 && !start.is_null() => unsafe { std::slice::from_raw_parts(start, len) },
        _ => &[],
    }
}

impl State {
    fn take_event(&mut self, header: usize, event: &Event) -> Result<(), String> {
        let Some(header) = self.headers.get_mut(header) else {
            return Ok(());
        };
        let name = || String::from_utf8_lossy(&header.name).into_owned();
        let (table, sources, slot) = match &mut header.kind {
            Kind::Ignored => return Ok(()),
            Kind::Foreign => {
                return Err(format!(
                    "table {} belongs to a database that this transaction does not hold",
                    name()
                ));
            }
            Kind::Captured { table, sources, slot } => (table, sources, slot),
        };
        let direct = u64::from(event.is_direct());
        let scratch = &mut self.scratch;
        let change = match event.op {
            ffi::SQLITE_INSERT => {
                event.row(&mut scratch.after, sources, false)?;
                event.key(&mut scratch.key, sources, &table.key, false)?;
                self.counts.inserted += direct;
                Op::Insert
            }
            ffi::SQLITE_UPDATE => {
                self.counts.matched += direct;
                if !scratch.update(event, sources, &table.key)? {
                    scratch.touch(&mut self.touched, table);
                    return Ok(());
                }
                self.counts.updated += direct;
                Op::Update
            }
            _ => {
                // SAFETY: inside the hook. Blob handles write without telling the new value.
                if unsafe { ffi::sqlite3_preupdate_blobwrite(event.db) } >= 0 {
                    return Err("incremental blob writes cannot be captured".to_owned());
                }
                event.row(&mut scratch.before, sources, true)?;
                event.key(&mut scratch.key, sources, &table.key, true)?;
                self.counts.deleted += direct;
                Op::Delete
            }
        };
        let index = match *slot {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.changes.tables.len()).map_err(|_| "too many tables".to_owned())?;
                self.changes.tables.push(table.clone());
                *slot = Some(index);
                index
            }
        };
        scratch.push(&mut self.changes, change, index as usize);
        Ok(())
    }
}

impl Scratch {
    /// Remembers the key that `update` read.
    fn touch(&self, touched: &mut Changes, table: &TableRef) {
        if touched.count >= TOUCHED_MAX {
            return;
        }
        let known = touched.tables.iter().position(|t| t.table == table.table);
        let table = known.unwrap_or_else(|| {
            touched.tables.push(table.clone());
            touched.tables.len() - 1
        });
        touched.push(ChangeRef {
            op: Op::Delete,
            table,
            key: RowRef(&self.key),
            before: None,
            after: None,
            changed: None,
        });
    }

    /// Reads both images of an update; false if they are equal.
    fn update(&mut self, event: &Event, sources: &[i32], key: &[u16]) -> Result<bool, String> {
        self.before.clear();
        self.after.clear();
        self.ends.clear();
        self.changed.clear();
        self.changed.resize(sources.len().div_ceil(8), 0);
        let mut differs = false;
        for (i, source) in sources.iter().enumerate() {
            let (b, a) = (self.before.len(), self.after.len());
            event.put(&mut self.before, *source, true)?;
            event.put(&mut self.after, *source, false)?;
            self.ends.push(self.before.len());
            if self.before[b..] != self.after[a..] {
                self.changed[i / 8] |= 1 << (i % 8);
                differs = true;
            }
        }
        self.key.clear();
        for position in key {
            let span = self.span(usize::from(*position));
            self.key.extend_from_slice(&self.before[span]);
        }
        Ok(differs)
    }

    fn span(&self, position: usize) -> std::ops::Range<usize> {
        let start = if position == 0 { 0 } else { self.ends[position - 1] };
        start..self.ends[position]
    }

    fn push(&mut self, changes: &mut Changes, op: Op, table: usize) {
        changes.push(ChangeRef {
            op,
            table,
            key: RowRef(&self.key),
            before: (op != Op::Insert).then_some(RowRef(&self.before)),
            after: (op != Op::Delete).then_some(RowRef(&self.after)),
            changed: (op == Op::Update).then_some(&self.changed),
        });
    }
}

/// Before images with only what changed, and the key. (A minimal delete image is its key, which the change carries anyway.)
fn minimal(full: &Changes) -> Changes {
    let mut out = Changes {
        tables: full.tables.clone(),
        ..Changes::default()
    };
    let mut image = Vec::new();
    for change in full.iter() {
        image.clear();
        if let (Op::Update, Some(before), Some(bits)) = (change.op, change.before, change.changed) {
            let key = &full.tables[change.table].key;
            for (i, value) in before.iter().enumerate() {
                let wanted = bits[i / 8] & (1 << (i % 8)) != 0 || key.iter().any(|k| usize::from(*k) == i);
                put_value(&mut image, if wanted { value } else { ValueRef::Absent });
            }
        }
        let before = (change.op == Op::Update).then_some(RowRef(&image));
        out.push(ChangeRef { before, ..change });
    }
    out
}
