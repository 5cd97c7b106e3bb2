//! The store on disk: sled 0.34, with what sled leaves to its user.
//!
//! Promises: one `fdatasync` for each `sync`, on sled's own file (sled's `flush` is only a `sync_file_range`); a directory
//! that is in use, damaged, or of a newer format is refused before anything in it changes, as far as that can be known
//! without sled; sled never meets a full disk, because room is asked for first. sled's panics on damage become errors.

use std::cell::Cell;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;

use bytes::Bytes;

use super::{Key, Op, Store, StoreError, Tree, Witness, inspect};
use crate::log::OpenError;

/// The layout described in `log/README.md`.
pub const FORMAT: u32 = 1;
/// Never touched by the log: sled fails for good when it meets the end of the disk, so writes end before it does.
pub const RESERVE_BYTES: u64 = 16 << 20;
/// sled writes a value, and now and then the page it stands in.
const WRITE_FACTOR: u64 = 2;

/// sled takes back half-empty parts of its file only in this thread of its own, one of 512 KiB each time (its `flush` there is
/// no flush that anything waits for). Without it pages that never change keep the space around them for ever.
const TIDY_EVERY_MS: u64 = 50;

const FORMAT_FILE: &str = "FORMAT";
const LOCK_FILE: &str = "lock";
const DATA_FILE: &str = "db";
const WITNESS_FILE: &str = "witness";

pub struct SledStore {
    dir: PathBuf,
    trees: [sled::Tree; 4],
    db: sled::Db,
    /// sled's file, opened a second time: the same inode, so syncing it syncs what sled wrote.
    data: File,
    witness: File,
    _lock: File,
}

impl SledStore {
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<SledStore, OpenError> {
        let io = |source| OpenError::Io {
            path: dir.to_owned(),
            source,
        };
        std::fs::create_dir_all(dir).map_err(io)?;
        let lock = take_lock(dir)?;
        check_format(dir)?;
        let witness = File::open(dir.join(WITNESS_FILE)).map_or(Witness::default(), |f| read_witness(&f));
        inspect::inspect(dir, witness).map_err(|reason| OpenError::Damaged {
            path: dir.to_owned(),
            reason,
        })?;
        let (db, trees) = open_sled(dir, cache_bytes)?;
        let data = File::open(dir.join(DATA_FILE)).map_err(io)?;
        let witness = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(WITNESS_FILE))
            .map_err(io)?;
        sync_dir(dir).map_err(io)?;
        Ok(SledStore {
            dir: dir.to_owned(),
            trees,
            db,
            data,
            witness,
            _lock: lock,
        })
    }

    fn tree(&self, tree: Tree) -> &sled::Tree {
        &self.trees[tree as usize]
    }
}

/// Held as long as the file is open; the kernel lets go of it when the process ends, however it ends.
fn take_lock(dir: &Path) -> Result<File, OpenError> {
    let io = |source| OpenError::Io {
        path: dir.to_owned(),
        source,
    };
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join(LOCK_FILE))
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::InUse(dir.to_owned())),
        Err(std::fs::TryLockError::Error(source)) => Err(io(source)),
    }
}

/// The format number stands in a file of its own, so that a newer one is seen before sled touches anything.
fn check_format(dir: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io {
        path: dir.to_owned(),
        source,
    };
    let damaged = |reason: &str| OpenError::Damaged {
        path: dir.to_owned(),
        reason: reason.to_owned(),
    };
    let path = dir.join(FORMAT_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(found) if found > FORMAT => Err(OpenError::Newer {
                path: dir.to_owned(),
                found,
                known: FORMAT,
            }),
            Ok(FORMAT) => Ok(()),
            _ => Err(damaged("its FORMAT file is not a format number")),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            if dir.join(DATA_FILE).exists() {
                return Err(damaged("its FORMAT file is missing"));
            }
            let fresh = dir.join("FORMAT.new");
            let mut file = File::create(&fresh).map_err(io)?;
            writeln!(file, "{FORMAT}").map_err(io)?;
            file.sync_all().map_err(io)?;
            std::fs::rename(&fresh, &path).map_err(io)?;
            sync_dir(dir).map_err(io)
        }
        Err(source) => Err(io(source)),
    }
}

fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

fn open_sled(dir: &Path, cache_bytes: u64) -> Result<(sled::Db, [sled::Tree; 4]), OpenError> {
    let damaged = |reason: String| OpenError::Damaged {
        path: dir.to_owned(),
        reason,
    };
    let opened = quietly(|| {
        let db = sled::Config::new()
            .path(dir)
            .cache_capacity(cache_bytes)
            .mode(sled::Mode::HighThroughput)
            .flush_every_ms(Some(TIDY_EVERY_MS))
            .open()?;
        let [a, b, c, d] = Tree::ALL.map(|t| db.open_tree(t.name()));
        Ok((db, [a?, b?, c?, d?]))
    });
    match opened {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(sled::Error::Io(source))) => Err(OpenError::Io {
            path: dir.to_owned(),
            source,
        }),
        Ok(Err(other)) => Err(damaged(other.to_string())),
        Err(panic) => Err(damaged(panic)),
    }
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// sled panics on damage it did not expect. What it says then is not for the user's screen: the panic hook passes it by.
fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    result.map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        text.unwrap_or("the store failed").to_owned()
    })
}

/// Runs sled work, its errors and panics made one.
fn guarded<T>(work: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    match quietly(work) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(StoreError::Failed(e.to_string())),
        Err(panic) => Err(StoreError::Failed(panic)),
    }
}

fn shared(value: sled::IVec) -> Bytes {
    Bytes::from_owner(value)
}

impl Store for SledStore {
    fn write(&self, ops: Vec<Op>) -> Result<(), StoreError> {
        guarded(|| {
            for op in ops {
                match op {
                    Op::Put(tree, key, record) => self.tree(tree).insert(&key[..], record.join()).map(drop)?,
                    Op::Remove(tree, key) => self.tree(tree).remove(&key[..]).map(drop)?,
                }
            }
            Ok(())
        })
    }

    fn sync(&self) -> Result<(), StoreError> {
        guarded(|| self.db.flush())?;
        self.data.sync_data().map_err(|e| StoreError::Failed(format!("fdatasync: {e}")))
    }

    fn room(&self, bytes: usize) -> Result<(), StoreError> {
        let need = RESERVE_BYTES + WRITE_FACTOR * bytes as u64;
        match free_bytes(&self.data) {
            Ok(free) if free < need => Err(StoreError::Full(format!(
                "{} MiB are free in {}, {} MiB are needed",
                free >> 20,
                self.dir.display(),
                (need >> 20) + 1
            ))),
            Ok(_) => Ok(()),
            Err(e) => Err(StoreError::Failed(format!("statvfs: {e}"))),
        }
    }

    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(guarded(|| self.tree(tree).get(key))?.map(shared))
    }

    fn before(&self, tree: Tree, key: &[u8]) -> Result<Option<(Key, Bytes)>, StoreError> {
        Ok(guarded(|| self.tree(tree).get_lt(key))?.map(|(k, v)| (Key::from_slice(&k), shared(v))))
    }

    fn range(&self, tree: Tree, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], Bytes) -> bool) -> Result<(), StoreError> {
        guarded(|| {
            for item in self.tree(tree).range(from..to) {
                let (key, value) = item?;
                if !each(&key, shared(value)) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn witness(&self) -> Witness {
        read_witness(&self.witness)
    }

    fn set_witness(&self, witness: Witness) {
        let mut bytes = [0; WITNESS];
        bytes[..8].copy_from_slice(&witness.flush.to_le_bytes());
        bytes[8..16].copy_from_slice(&witness.base.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..16]);
        bytes[16..].copy_from_slice(&sum.to_le_bytes());
        // Losing it only loses a check.
        let _ = self.witness.write_all_at(&bytes, 0);
    }

    fn disk_bytes(&self) -> u64 {
        self.data.metadata().map_or(0, |m| m.len())
    }

    fn path(&self) -> PathBuf {
        self.dir.clone()
    }
}

/// Two numbers and a checksum.
const WITNESS: usize = 20;

fn read_witness(file: &File) -> Witness {
    let mut bytes = [0; WITNESS];
    let read = file.read_exact_at(&mut bytes, 0).is_ok();
    let number = |at: usize| bytes[at..at + 8].iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte));
    // Torn or never written: it bears no witness.
    if !read || crc32c::crc32c(&bytes[..16]).to_le_bytes() != bytes[16..] {
        return Witness::default();
    }
    Witness {
        flush: number(0),
        base: number(8),
    }
}

/// What an ordinary user may still write on the file's disk.
fn free_bytes(file: &File) -> std::io::Result<u64> {
    use std::os::fd::AsRawFd;
    // SAFETY: an all-zero statvfs is a valid value of that plain struct.
    let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open for the length of the call and the struct is ours.
    if unsafe { libc::fstatvfs(file.as_raw_fd(), &mut stat) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
