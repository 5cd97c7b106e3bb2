//! Tables as claims, overlays and shadows see them: how an image of the present definition is read, and what depends on it.
//!
//! Promises: made once per table and catalog. Must not know: what is done with them.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::Connection;
use smallvec::SmallVec;
use starling_log::{RowRef, TableRef, Value, ValueRef};

use crate::capture::image_shape;
use crate::catalog::{Catalog, Database, ForeignKey, Table};
use crate::claim::Version;
use crate::inorder::evaluate;
use crate::layout::{Key, Layout, Unique};
use crate::materialize::FoldError;
use crate::newest::Newest;
use crate::physical::{hidden_key, quote};

/// The values of one image.
pub(crate) type Image<'a> = SmallVec<[ValueRef<'a>; 24]>;

/// One table of the present catalog.
pub(crate) struct Shape {
    pub table: Arc<Table>,
    pub layout: Layout,
    pub newest: Arc<Newest>,
    /// How images of it are made.
    pub header: TableRef,
    /// By column of the layout: its position in images.
    pub at: Vec<usize>,
    pub parents: Vec<Parent>,
    /// Foreign keys point to it or from it.
    pub related: bool,
}

/// A table that rows of this one point to.
pub(crate) struct Parent {
    /// Positions of the pointing columns.
    pub columns: Vec<usize>,
    pub table: u64,
    /// Finds the key of the row pointed to, by the referenced columns.
    pub find: String,
    pub layout: Layout,
}

impl Shape {
    fn new(database: &Database, table: &Arc<Table>, newest: Arc<Newest>) -> Result<Shape, FoldError> {
        let schema = database.name.to_lowercase();
        let layout = Layout::new(&schema, &table.name, table).map_err(FoldError::Broken)?;
        let (header, _) = image_shape(table);
        let position = |id: u32| header.columns.iter().position(|c| *c == id);
        let at: Option<Vec<usize>> = layout.columns.iter().map(|id| position(*id)).collect();
        let at = at.ok_or_else(|| FoldError::Broken(format!("images of {} lack a column", table.name)))?;
        let parents = table
            .foreign_keys
            .iter()
            .filter_map(|fk| parent(database, &schema, &header.columns, fk));
        let pointed = |t: &Table| {
            t.foreign_keys
                .iter()
                .any(|fk| fk.parent.to_lowercase() == table.name.to_lowercase())
        };
        Ok(Shape {
            parents: parents.collect(),
            related: !table.foreign_keys.is_empty() || database.tables.values().any(|t| pointed(t)),
            table: Arc::clone(table),
            layout,
            newest,
            header,
            at,
        })
    }

    /// The key that stands in a change.
    pub fn packed_key(&self, key: RowRef<'_>) -> Key {
        self.layout.key_of(key.iter())
    }
    /// The key of an image.
    pub fn key_of(&self, image: &[ValueRef<'_>]) -> Key {
        self.layout.key_of(self.header.key.iter().map(|k| value(image, usize::from(*k))))
    }
    /// The image's row as the layout orders it, generated columns that unique indexes need behind.
    pub fn row(&self, conn: &Connection, image: &[ValueRef<'_>]) -> Result<Vec<Value>, FoldError> {
        let owned = |at: &usize| value(image, *at).to_owned().unwrap_or(Value::Null);
        let mut row: Vec<Value> = self.at.iter().map(owned).collect();
        evaluate(conn, &self.layout, &mut row)?;
        Ok(row)
    }
    /// Is every part of it a stored column?
    pub fn is_stored(&self, unique: &Unique) -> bool {
        unique.parts.iter().all(|p| p.at < self.at.len())
    }
    /// Did an update with these bits change the column at `at` of the layout?
    pub fn changed(&self, at: usize, bits: &[u8]) -> bool {
        // Whether a generated column changed is not known.
        self.at.get(at).is_none_or(|i| bit(bits, *i))
    }
}

pub(crate) fn value<'a>(image: &[ValueRef<'a>], at: usize) -> ValueRef<'a> {
    image.get(at).copied().unwrap_or(ValueRef::Null)
}

pub(crate) fn bit(bits: &[u8], at: usize) -> bool {
    bits.get(at / 8).is_some_and(|b| b >> (at % 8) & 1 == 1)
}

/// `columns`: those of the images, or of the rows, that point. `None`: the parent does not exist (it need not while foreign keys are not
/// checked).
pub(crate) fn parent(database: &Database, schema: &str, columns: &[u32], fk: &ForeignKey) -> Option<Parent> {
    let table = database.table(&fk.parent)?;
    let layout = Layout::new(schema, &table.name, table).ok()?;
    let position = |id: &u32| columns.iter().position(|c| c == id);
    let columns: Vec<usize> = fk.columns.iter().map(position).collect::<Option<_>>()?;
    let key_names: Vec<String> = match table.primary() {
        None => vec![hidden_key(table).to_owned()],
        Some(primary) => {
            let name = |id: u32| table.column_by_id(id).map(|c| quote(&c.name));
            primary.parts.iter().map(|p| name(p.column)).collect::<Option<_>>()?
        }
    };
    let terms: Vec<String> = fk
        .parent_columns
        .iter()
        .enumerate()
        .map(|(i, c)| format!("{} = ?{}", quote(c), i + 1))
        .collect();
    Some(Parent {
        columns,
        table: table.id,
        find: format!(
            "SELECT {} FROM {}.{} WHERE {} LIMIT 1",
            key_names.join(", "),
            quote(schema),
            quote(&table.name),
            terms.join(" AND ")
        ),
        layout,
    })
}

/// Shapes of one catalog, made as they are asked for.
#[derive(Default)]
pub(crate) struct Shapes {
    catalog: Arc<Catalog>,
    tables: HashMap<u64, Arc<Shape>>,
    files: HashMap<u64, Arc<Newest>>,
    /// Versions of databases' definitions under this catalog.
    pub schemas: HashMap<u64, Version>,
}

impl Shapes {
    /// Forgets what was made under another catalog.
    pub fn follow(&mut self, catalog: &Arc<Catalog>) {
        if !Arc::ptr_eq(&self.catalog, catalog) {
            *self = Shapes {
                catalog: Arc::clone(catalog),
                ..Shapes::default()
            };
        }
    }
    /// `None`: there is no such table.
    pub fn get(&mut self, table: u64) -> Result<Option<Arc<Shape>>, FoldError> {
        if let Some(shape) = self.tables.get(&table) {
            return Ok(Some(Arc::clone(shape)));
        }
        let catalog = Arc::clone(&self.catalog);
        let Some((database, definition)) = catalog.table_by_id(table) else {
            return Ok(None);
        };
        let newest = self.newest(database);
        let shape = Arc::new(Shape::new(database, definition, newest)?);
        self.tables.insert(table, Arc::clone(&shape));
        Ok(Some(shape))
    }
    pub fn newest(&mut self, database: &Database) -> Arc<Newest> {
        let made = self
            .files
            .entry(database.id)
            .or_insert_with(|| Arc::new(Newest::new(&database.name.to_lowercase())));
        Arc::clone(made)
    }
}
