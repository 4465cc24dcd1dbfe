//! The index file, `index.redb`: positions in the log, made from the log and always reproducible from it.
//!
//! | table | key | value |
//! |---|---|---|
//! | `objects` | oid | position of the current record |
//! | `transactions` | tid | position, running checksum |
//! | `mark` | name | number: what of the log the tables cover (see [`Mark`]) and `format` |
//!
//! Every commit to it moves the mark along with the tables, so that after a crash it is behind the log, but
//! whole. redb checks its own pages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

use redb::{
    Database, Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, TableDefinition, TableError, WriteTransaction,
};

use crate::anchor::Anchor;
use crate::error::IndexError;
use crate::format::LOG_START;
use crate::world::{self, fs::File};
use crate::{Checksum, Oid, ReadError, Tid};

const OBJECTS: TableDefinition<u64, u64> = TableDefinition::new("objects");
const TRANSACTIONS: TableDefinition<u64, (u64, u128)> = TableDefinition::new("transactions");
const MARK: TableDefinition<&str, u128> = TableDefinition::new("mark");
const FORMAT: u128 = 2;

/// How far into the log something goes, and what is known there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The end of the last transaction.
    pub(crate) end: u64,
    /// The last transaction; zero when there is none.
    pub(crate) last_tid: Tid,
    /// Where it begins.
    pub(crate) last_position: u64,
    /// The running checksum after it.
    pub(crate) checksum: Checksum,
    /// The greatest oid of any record.
    pub(crate) max_oid: Oid,
    /// The number of different oids.
    pub(crate) objects: u64,
}

impl Mark {
    /// That of a log without transactions.
    pub(crate) const START: Self = Self {
        end: LOG_START,
        last_tid: Tid::ZERO,
        last_position: 0,
        checksum: Checksum::ZERO,
        max_oid: Oid::ROOT,
        objects: 0,
    };

    /// That of a log from which a pack may have removed everything.
    pub(crate) fn start(anchor: Option<&Anchor>) -> Self {
        Self { checksum: Anchor::settle(anchor, LOG_START, Checksum::ZERO), ..Self::START }
    }
}

/// A transaction's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TransactionEntry {
    pub(crate) tid: Tid,
    pub(crate) position: u64,
    pub(crate) checksum: Checksum,
}

pub(crate) struct Index {
    state: RwLock<State>,
    /// `None` for a private one.
    path: Mutex<Option<PathBuf>>,
    cache_bytes: usize,
}

enum State {
    Open(Database),
    /// It failed, and could not be opened again yet.
    Broken(IndexError),
    Closed,
}

impl Index {
    /// Opens or makes the index file at `path`.
    pub(crate) fn open(path: &Path, cache_bytes: usize) -> Result<Self, IndexError> {
        let database = world::database(Database::builder().set_cache_size(cache_bytes), path)?;
        Ok(Self {
            state: RwLock::new(State::Open(database)),
            path: Mutex::new(Some(path.to_owned())),
            cache_bytes,
        })
    }

    /// The file has another name now.
    pub(crate) fn renamed(&self, path: &Path) {
        *self.path.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.to_owned());
    }

    /// An empty index in a file that has no name.
    pub(crate) fn private(file: File, cache_bytes: usize) -> Result<Self, IndexError> {
        let database = world::database_in(Database::builder().set_cache_size(cache_bytes), file)?;
        Ok(Self { state: RwLock::new(State::Open(database)), path: Mutex::new(None), cache_bytes })
    }

    /// Opens the file again after an error, since redb answers nothing any more then. It goes back to what was made
    /// durable last; `missing` is asked for what the log has since. Readers wait meanwhile.
    pub(crate) fn reopen(
        &self,
        missing: impl FnOnce(Mark) -> Result<(Vec<(u64, u64)>, Vec<TransactionEntry>, Mark), ReadError>,
    ) -> Result<(), ReadError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Closed) {
            return Err(ReadError::Closed);
        }
        let path = self.path.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(path) = &path else { return Err(broken().into()) };
        // Only one may have the file open.
        *state = State::Broken(broken());
        let mut builder = Database::builder();
        let database =
            world::database(builder.set_cache_size(self.cache_bytes), path).map_err(IndexError::from)?;
        let mark = read_mark(&database.begin_read().map_err(IndexError::from)?)?;
        let (objects, transactions, mark) = missing(mark.unwrap_or(Mark::START))?;
        apply_to(&database, &objects, &transactions, &mark, true)?;
        *state = State::Open(database);
        Ok(())
    }

    /// What the index covers. `None`: nothing yet, or it has another format.
    pub(crate) fn mark(&self) -> Result<Option<Mark>, ReadError> {
        self.read(read_mark)
    }

    /// The position of an object's current record.
    pub(crate) fn object(&self, oid: Oid) -> Result<Option<u64>, ReadError> {
        self.read(|transaction| {
            Ok(transaction.open_table(OBJECTS)?.get(oid.get())?.map(|position| position.value()))
        })
    }

    /// What the index has at this moment, for many questions: quicker than to ask for each. `None`: nothing yet.
    pub(crate) fn view(&self) -> Result<Option<View>, ReadError> {
        self.read(|transaction| {
            let Some(mark) = read_mark(transaction)? else { return Ok(None) };
            let (objects, transactions) =
                (transaction.open_table(OBJECTS)?, transaction.open_table(TRANSACTIONS)?);
            Ok(Some(View { up_to: mark.last_tid, objects, transactions }))
        })
    }

    /// The first object from `from` on.
    pub(crate) fn object_from(&self, from: Oid) -> Result<Option<(Oid, u64)>, ReadError> {
        self.read(|transaction| {
            let table = transaction.open_table(OBJECTS)?;
            let first = table.range(from.get()..)?.next().transpose()?;
            Ok(first.map(|(oid, position)| (Oid::new(oid.value()), position.value())))
        })
    }

    /// The first transaction from `from` on.
    pub(crate) fn transaction_from(&self, from: Tid) -> Result<Option<TransactionEntry>, ReadError> {
        self.read(|transaction| {
            let table = transaction.open_table(TRANSACTIONS)?;
            let first = table.range(from.get()..)?.next().transpose()?;
            Ok(first.map(|(tid, value)| entry(tid.value(), value.value())))
        })
    }

    /// How many transactions there are from `from` on and before `to`; counts no further than `count_max`.
    pub(crate) fn transactions_between(
        &self,
        from: Tid,
        to: Option<Tid>,
        count_max: u64,
    ) -> Result<u64, ReadError> {
        let to = to.map_or(u64::MAX, Tid::get);
        self.read(|transaction| {
            let table = transaction.open_table(TRANSACTIONS)?;
            let mut count = 0;
            for found in table.range(from.get()..to)? {
                found?;
                count += 1;
                if count >= count_max {
                    break;
                }
            }
            Ok(count)
        })
    }

    /// The last transaction before `tid`.
    pub(crate) fn transaction_before(&self, tid: Tid) -> Result<Option<TransactionEntry>, ReadError> {
        self.read(|transaction| {
            let table = transaction.open_table(TRANSACTIONS)?;
            let last = table.range(..tid.get())?.next_back().transpose()?;
            Ok(last.map(|(tid, value)| entry(tid.value(), value.value())))
        })
    }

    /// Takes in what the log has from the old mark to `mark`, all or nothing. `objects` are in the order of oids
    /// without duplicates. With `durable`, this and everything before it survives a crash.
    pub(crate) fn apply(
        &self,
        objects: &[(u64, u64)],
        transactions: &[TransactionEntry],
        mark: &Mark,
        durable: bool,
    ) -> Result<(), IndexError> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open(database) => apply_to(database, objects, transactions, mark, durable),
            State::Broken(error) => Err(error.clone()),
            State::Closed => Ok(()),
        }
    }

    /// Goes back to an earlier mark, durably: `objects` are where they were then, 0 for those that were not there yet.
    pub(crate) fn rewind(&self, objects: &BTreeMap<u64, u64>, mark: &Mark) -> Result<(), IndexError> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open(database) => rewind_to(database, objects, mark),
            State::Broken(error) => Err(error.clone()),
            State::Closed => Ok(()),
        }
    }

    /// Takes leave of the file. What was not made durable may be lost.
    pub(crate) fn close(&self) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = State::Closed;
    }

    fn read<T>(&self, read: impl FnOnce(&ReadTransaction) -> Result<T, IndexError>) -> Result<T, ReadError> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open(database) => Ok(read(&database.begin_read().map_err(IndexError::from)?)?),
            State::Broken(error) => Err(error.clone().into()),
            State::Closed => Err(ReadError::Closed),
        }
    }
}

/// What the index file has at one moment. Not to be kept: no page of that time is used again.
pub(crate) struct View {
    /// The last transaction that it covers.
    pub(crate) up_to: Tid,
    objects: ReadOnlyTable<u64, u64>,
    transactions: ReadOnlyTable<u64, (u64, u128)>,
}

impl View {
    /// The position of an object's record that was current then.
    pub(crate) fn position(&self, oid: Oid) -> Result<Option<u64>, ReadError> {
        let found = self.objects.get(oid.get()).map_err(IndexError::from)?;
        Ok(found.map(|position| position.value()))
    }

    /// The transaction with this tid.
    pub(crate) fn transaction(&self, tid: Tid) -> Result<Option<TransactionEntry>, ReadError> {
        let found = self.transactions.get(tid.get()).map_err(IndexError::from)?;
        Ok(found.map(|value| entry(tid.get(), value.value())))
    }
}

/// An index file that nobody has open for writing, at one moment.
pub(crate) struct IndexView {
    transaction: ReadTransaction,
}

impl IndexView {
    /// Fails when a process has the file open, or when one crashed and the file has to be repaired first.
    pub(crate) fn open(path: &Path) -> Result<Self, IndexError> {
        let transaction = world::read_only_database(path)?.begin_read()?;
        Ok(Self { transaction })
    }

    pub(crate) fn mark(&self) -> Result<Option<Mark>, IndexError> {
        read_mark(&self.transaction)
    }

    pub(crate) fn transaction(&self, tid: Tid) -> Result<Option<TransactionEntry>, IndexError> {
        let found = self.transaction.open_table(TRANSACTIONS)?.get(tid.get())?;
        Ok(found.map(|value| entry(tid.get(), value.value())))
    }

    pub(crate) fn transactions(&self) -> Result<u64, IndexError> {
        Ok(self.transaction.open_table(TRANSACTIONS)?.len()?)
    }

    pub(crate) fn each_object(&self, mut look: impl FnMut(Oid, u64)) -> Result<(), IndexError> {
        for object in self.transaction.open_table(OBJECTS)?.iter()? {
            let (oid, position) = object?;
            look(Oid::new(oid.value()), position.value());
        }
        Ok(())
    }
}

fn apply_to(
    database: &Database,
    objects: &[(u64, u64)],
    transactions: &[TransactionEntry],
    mark: &Mark,
    durable: bool,
) -> Result<(), IndexError> {
    debug_assert!(objects.is_sorted_by(|a, b| a.0 < b.0));
    let mut write = database.begin_write()?;
    if durable {
        // Opening after a crash must not take a walk through the whole file.
        write.set_quick_repair(true);
    } else {
        write.set_durability(Durability::None)?;
    }
    {
        let mut table = write.open_table(OBJECTS)?;
        for (oid, position) in objects {
            table.insert(oid, position)?;
        }
        let mut table = write.open_table(TRANSACTIONS)?;
        for entry in transactions {
            table.insert(entry.tid.get(), (entry.position, entry.checksum.number()))?;
        }
        write_mark(&write, mark)?;
    }
    write.commit()?;
    Ok(())
}

fn rewind_to(database: &Database, objects: &BTreeMap<u64, u64>, mark: &Mark) -> Result<(), IndexError> {
    let mut write = database.begin_write()?;
    write.set_quick_repair(true);
    {
        let mut table = write.open_table(OBJECTS)?;
        for (oid, position) in objects {
            if *position == 0 {
                table.remove(oid)?;
            } else {
                table.insert(oid, position)?;
            }
        }
        let mut table = write.open_table(TRANSACTIONS)?;
        table.retain_in(mark.last_tid.get() + 1.., |_, _| false)?;
        write_mark(&write, mark)?;
    }
    write.commit()?;
    Ok(())
}

fn write_mark(write: &WriteTransaction, mark: &Mark) -> Result<(), IndexError> {
    let mut table = write.open_table(MARK)?;
    for (name, number) in [
        ("format", FORMAT),
        ("end", mark.end.into()),
        ("last tid", mark.last_tid.get().into()),
        ("last position", mark.last_position.into()),
        ("checksum", mark.checksum.number()),
        ("max oid", mark.max_oid.get().into()),
    ] {
        table.insert(name, number)?;
    }
    Ok(())
}

fn broken() -> IndexError {
    redb::Error::PreviousIo.into()
}

fn read_mark(transaction: &ReadTransaction) -> Result<Option<Mark>, IndexError> {
    let table = match transaction.open_table(MARK) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        other => other?,
    };
    let number = |name| Ok::<_, IndexError>(table.get(name)?.map(|value| value.value()));
    if number("format")? != Some(FORMAT) {
        return Ok(None);
    }
    let number = |name| number(name).map(|number| number.unwrap_or_default());
    Ok(Some(Mark {
        end: number("end")? as u64,
        last_tid: Tid::new(number("last tid")? as u64),
        last_position: number("last position")? as u64,
        checksum: Checksum::new(number("checksum")?),
        max_oid: Oid::new(number("max oid")? as u64),
        objects: transaction.open_table(OBJECTS)?.len()?,
    }))
}

fn entry(tid: u64, (position, checksum): (u64, u128)) -> TransactionEntry {
    TransactionEntry { tid: Tid::new(tid), position, checksum: Checksum::new(checksum) }
}
