//! Overlays: what an open transaction changed so far, as packed row changes in the order they happened.
//!
//! Promises: cheap to make; beyond [`SPILL_ROWS`] rows the changes stand in an unlinked file in the data directory, so that a
//! large transaction takes disk and not memory; going back to a mark forgets exactly what came after it. Must not know: SQLite,
//! locks, who the transaction belongs to.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use starling_log::{ChangeRef, Changes, TableRef};

use crate::catalog::{Catalog, Table};

/// Rows that an overlay keeps in memory.
pub const SPILL_ROWS: u64 = 10_000;
/// A spilled piece is about that large: what stands in memory of a spilled overlay, at most, and while it is read.
const PIECE_BYTES: usize = 256 << 10;

/// What an open transaction changed; owned by its session.
pub struct Overlay {
    content: Arc<Mutex<Content>>,
}

/// A position in an overlay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OverlayMark {
    bytes: u64,
    rows: u64,
    tables: usize,
}

/// A table that the transaction changed.
#[derive(Clone)]
pub(crate) struct Changed {
    pub header: TableRef,
    /// Lower-case name of its database.
    pub schema: Arc<str>,
    /// As it was when the images were made.
    pub table: Arc<Table>,
}

/// Complete changes in the file.
#[derive(Clone, Copy)]
struct Piece {
    bytes: u64,
    rows: u64,
}

pub(crate) struct Content {
    id: u64,
    /// Another with every change of the content, never the same twice.
    token: u64,
    /// How often something was taken back.
    truncations: u64,
    pub tables: Vec<Changed>,
    file: Option<File>,
    /// One behind the other from the file's start.
    pieces: Vec<Piece>,
    spilled: Piece,
    tail: Vec<u8>,
    tail_rows: u64,
}

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Names a state of some overlay; never given twice.
pub(crate) fn new_token() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Default for Overlay {
    fn default() -> Overlay {
        Overlay::new()
    }
}

impl Overlay {
    pub fn new() -> Overlay {
        let content = Content {
            id: new_token(),
            token: new_token(),
            truncations: 0,
            tables: Vec::new(),
            file: None,
            pieces: Vec::new(),
            spilled: Piece { bytes: 0, rows: 0 },
            tail: Vec::new(),
            tail_rows: 0,
        };
        Overlay {
            content: Arc::new(Mutex::new(content)),
        }
    }
    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }
    /// Row changes in it (a row changed twice counts twice).
    pub fn rows(&self) -> u64 {
        self.content.lock().rows()
    }
    /// Packed size of its changes.
    pub fn bytes(&self) -> u64 {
        self.content.lock().bytes()
    }
    /// (database id, table id) of all tables changed.
    pub fn tables(&self) -> impl Iterator<Item = (u64, u64)> + use<> {
        let content = self.content.lock();
        let ids: Vec<(u64, u64)> = content.tables.iter().map(|t| (t.header.db, t.header.table)).collect();
        ids.into_iter()
    }
    /// Has it changed this table?
    pub fn touches(&self, table: u64) -> bool {
        self.content.lock().tables.iter().any(|t| t.header.table == table)
    }
    pub fn mark(&self) -> OverlayMark {
        self.content.lock().mark()
    }
    /// ROLLBACK TO: forgets what came after `mark`.
    pub fn truncate(&mut self, mark: OverlayMark) {
        self.content.lock().truncate(mark);
    }
    /// All changes in order, as one entry's body.
    pub fn changes(&self) -> std::io::Result<Changes> {
        self.content.lock().whole()
    }
    pub(crate) fn content(&self) -> &Arc<Mutex<Content>> {
        &self.content
    }
}

impl Content {
    pub fn id(&self) -> u64 {
        self.id
    }
    pub fn token(&self) -> u64 {
        self.token
    }
    pub fn truncations(&self) -> u64 {
        self.truncations
    }
    pub fn rows(&self) -> u64 {
        self.spilled.rows + self.tail_rows
    }
    pub fn bytes(&self) -> u64 {
        self.spilled.bytes + self.tail.len() as u64
    }
    pub fn mark(&self) -> OverlayMark {
        OverlayMark {
            bytes: self.bytes(),
            rows: self.rows(),
            tables: self.tables.len(),
        }
    }

    /// Appends what a statement changed under `catalog`; the state that follows is named `token`.
    pub fn append(&mut self, changes: &Changes, catalog: &Catalog, token: u64, dir: &Path) -> std::io::Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let before = self.mark();
        let slots: Option<Vec<usize>> = changes.tables.iter().map(|t| self.slot(t, catalog)).collect();
        let slots = slots.ok_or_else(|| std::io::Error::other("a change of a table that is not in the catalog"))?;
        let mut out = Changes {
            tables: Vec::new(),
            count: 0,
            bytes: std::mem::take(&mut self.tail),
        };
        for change in changes.iter() {
            let table = slots[change.table];
            out.push(ChangeRef { table, ..change });
            self.tail_rows += 1;
            if out.bytes.len() >= PIECE_BYTES && self.rows() > SPILL_ROWS {
                self.tail = std::mem::take(&mut out.bytes);
                if let Err(error) = self.spill(dir) {
                    self.truncate(before);
                    return Err(error);
                }
                out.bytes = std::mem::take(&mut self.tail);
            }
        }
        self.tail = out.bytes;
        self.token = token;
        Ok(())
    }

    fn slot(&mut self, header: &TableRef, catalog: &Catalog) -> Option<usize> {
        if let Some(at) = self.tables.iter().position(|t| t.header == *header) {
            return Some(at);
        }
        let (database, table) = catalog.table_by_id(header.table)?;
        self.tables.push(Changed {
            header: header.clone(),
            schema: database.name.to_lowercase().into(),
            table: Arc::clone(table),
        });
        Some(self.tables.len() - 1)
    }

    /// Moves the tail to the file.
    fn spill(&mut self, dir: &Path) -> std::io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(unlinked(dir, self.id)?),
        };
        file.write_all_at(&self.tail, self.spilled.bytes)?;
        let piece = Piece {
            bytes: self.tail.len() as u64,
            rows: self.tail_rows,
        };
        self.pieces.push(piece);
        self.spilled.bytes += piece.bytes;
        self.spilled.rows += piece.rows;
        self.tail.clear();
        self.tail_rows = 0;
        Ok(())
    }

    pub fn truncate(&mut self, mark: OverlayMark) {
        if mark == self.mark() {
            return;
        }
        self.token = new_token();
        self.truncations += 1;
        self.tables.truncate(mark.tables);
        if mark.bytes >= self.spilled.bytes {
            self.tail
                .truncate(usize::try_from(mark.bytes - self.spilled.bytes).unwrap_or(usize::MAX));
            self.tail_rows = mark.rows - self.spilled.rows;
            return;
        }
        self.tail.clear();
        self.tail_rows = 0;
        while let Some(last) = self.pieces.pop() {
            let start = Piece {
                bytes: self.spilled.bytes - last.bytes,
                rows: self.spilled.rows - last.rows,
            };
            self.spilled = start;
            if start.bytes <= mark.bytes {
                let piece = Piece {
                    bytes: mark.bytes - start.bytes,
                    rows: mark.rows - start.rows,
                };
                if piece.bytes > 0 {
                    self.pieces.push(piece);
                    self.spilled.bytes += piece.bytes;
                    self.spilled.rows += piece.rows;
                }
                return;
            }
        }
    }

    /// All changes from `from` on, piece by piece (their tables are those of the overlay).
    pub fn each<E: From<std::io::Error>>(
        &self,
        from: OverlayMark,
        mut f: impl FnMut(&Content, ChangeRef<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = 0;
        let mut piece = Changes::default();
        for p in &self.pieces {
            let skip = from.bytes.saturating_sub(at);
            if skip < p.bytes {
                self.read(at + skip, p.bytes - skip, &mut piece.bytes)?;
                piece.count = u32::MAX;
                piece.iter().try_for_each(|c| f(self, c))?;
            }
            at += p.bytes;
        }
        let skip = usize::try_from(from.bytes.saturating_sub(at)).unwrap_or(usize::MAX);
        let rest = self.tail.get(skip..).unwrap_or_default();
        piece.bytes.clear();
        piece.bytes.extend_from_slice(rest);
        piece.count = u32::MAX;
        piece.iter().try_for_each(|c| f(self, c))
    }

    fn read(&self, at: u64, len: u64, out: &mut Vec<u8>) -> std::io::Result<()> {
        let file = self
            .file
            .as_ref()
            .ok_or_else(|| std::io::Error::other("a spilled overlay without a file"))?;
        out.resize(usize::try_from(len).unwrap_or(usize::MAX), 0);
        file.read_exact_at(out, at)
    }

    pub fn whole(&self) -> std::io::Result<Changes> {
        let mut bytes = Vec::new();
        if self.spilled.bytes > 0 {
            self.read(0, self.spilled.bytes, &mut bytes)?;
        }
        bytes.extend_from_slice(&self.tail);
        Ok(Changes {
            tables: self.tables.iter().map(|t| t.header.clone()).collect(),
            count: u32::try_from(self.rows()).map_err(|_| std::io::Error::other("too many row changes"))?,
            bytes,
        })
    }
}

/// A file that nobody else can open, gone with its last handle.
fn unlinked(dir: &Path, id: u64) -> std::io::Result<File> {
    let path = dir.join(format!(".overlay-{}-{id}", std::process::id()));
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}
