//! Rows that a sink keeps in the checkpoint's store until they are published.
//!
//! For places that forget what a dead process had sent (open transactions of Kafka) or that take an epoch in one step
//! (a database): the rows are an object before the record names them, so a restart can send them again. One object an
//! epoch and worker, Arrow IPC; `<attempt>-<epoch>.done` says that an epoch is published, and nobody is asked again.
//! Called by sinks. Not here: how rows are published, and whether they are already.

use super::store::Store;
use crate::error::{EngineError, Result};
use crate::event::{Batch, Change, Epoch};
use crate::sink::Place;
use crate::types::compact;
use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt8Array};
use arrow::datatypes::{DataType, Field, Schema, UInt8Type};
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use serde::{Deserialize, Serialize};
use std::io::Cursor;
use std::sync::Arc;

/// Column of what happens to each row, behind those of the frame.
const CHANGES: &str = "\u{0}change";

/// An object of rows, as the record names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ahead {
    pub name: String,
    pub rows: usize,
    pub size: usize,
    pub crc32c: u32,
}

/// A sink's corner of the store.
#[derive(Clone)]
pub struct WriteAhead {
    store: Arc<dyn Store>,
    folder: String,
    attempt: u64,
}

impl std::fmt::Debug for WriteAhead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WriteAhead({}, attempt {})", self.folder, self.attempt)
    }
}

impl WriteAhead {
    pub fn new(place: &Place) -> Self {
        let (store, attempt) = (Arc::clone(&place.store), place.attempt);
        Self { store, folder: format!("sink/{}", place.identity), attempt }
    }

    /// Makes rows of one worker and epoch durable. All batches have the same columns.
    ///
    /// # Errors
    /// The store fails.
    pub fn write(&self, epoch: Epoch, worker: usize, batches: &[Batch]) -> Result<Ahead> {
        let name = format!("{}/{}-{epoch}-{worker}.arrow", self.folder, self.attempt);
        let bytes = encode(batches)?;
        let rows = batches.iter().map(Batch::rows).sum();
        let ahead = Ahead { rows, size: bytes.len(), crc32c: crc32c::crc32c(&bytes), name };
        if self.store.create(&ahead.name, bytes)? {
            return Ok(ahead);
        }
        Err(EngineError::internal(&ahead.name, "the object exists already"))
    }

    /// Reads rows back.
    ///
    /// # Errors
    /// The object is gone or damaged; it is named.
    pub fn read(&self, ahead: &Ahead) -> Result<Vec<Batch>> {
        let bytes = self.store.read(&ahead.name)?;
        let damaged = |reason: String| EngineError::Data {
            place: format!("checkpoint object {}", ahead.name),
            row: 0,
            reason,
        };
        let found = crc32c::crc32c(&bytes);
        if bytes.len() != ahead.size || found != ahead.crc32c {
            return Err(damaged(format!(
                "expected {} bytes with CRC32C {:08x}, got {} bytes with {found:08x}: rows of a committed epoch are damaged",
                ahead.size,
                ahead.crc32c,
                bytes.len()
            )));
        }
        let reader =
            FileReader::try_new(Cursor::new(bytes), None).map_err(|error| damaged(error.to_string()))?;
        reader.map(|batch| batch.map_err(|error| damaged(error.to_string())).map(restored)).collect()
    }

    /// Says that an epoch is published: a restart asks nobody.
    ///
    /// # Errors
    /// The store fails.
    pub fn set_done(&self, attempt: u64, epoch: Epoch) -> Result<()> {
        self.store.create(&self.done(attempt, epoch), Vec::new()).map(drop)
    }

    /// True after [`WriteAhead::set_done`].
    ///
    /// # Errors
    /// The store fails.
    pub fn is_done(&self, attempt: u64, epoch: Epoch) -> Result<bool> {
        let name = self.done(attempt, epoch);
        Ok(self.store.list(&self.folder)?.contains(&name))
    }

    /// How the object is named that says so, for messages.
    pub fn done(&self, attempt: u64, epoch: Epoch) -> String {
        format!("{}/{attempt}-{epoch}.done", self.folder)
    }

    /// Removes rows that are published. What a failure leaves behind goes with its epoch.
    pub fn remove<'a>(&self, aheads: impl IntoIterator<Item = &'a Ahead>) {
        for ahead in aheads {
            let _ = self.store.delete(&ahead.name);
        }
    }
}

fn encode(batches: &[Batch]) -> Result<Vec<u8>> {
    let has_changes = batches.iter().any(|batch| batch.changes.is_some());
    let mut writer: Option<FileWriter<Vec<u8>>> = None;
    for batch in batches {
        let mut columns: Vec<ArrayRef> = batch.records.columns().iter().map(compact).collect();
        let mut fields: Vec<_> = batch.records.schema().fields().iter().cloned().collect();
        if has_changes {
            let inserts = || UInt8Array::from(vec![Change::Insert as u8; batch.rows()]);
            columns.push(Arc::new(batch.changes.clone().unwrap_or_else(inserts)));
            fields.push(Arc::new(Field::new(CHANGES, DataType::UInt8, true)));
        }
        let schema = Arc::new(Schema::new(fields));
        let writer = match &mut writer {
            Some(writer) => writer,
            None => writer.insert(FileWriter::try_new(Vec::new(), &schema)?),
        };
        writer.write(&RecordBatch::try_new(schema, columns)?)?;
    }
    writer.map_or_else(|| Ok(Vec::new()), |writer| Ok(writer.into_inner()?))
}

fn restored(mut records: RecordBatch) -> Batch {
    let place = records.schema().index_of(CHANGES).ok();
    let changes = place.and_then(|place| {
        let changes = records.remove_column(place);
        changes.as_primitive_opt::<UInt8Type>().cloned()
    });
    Batch { records, changes, order: None }
}

#[cfg(test)]
mod tests {
    use super::WriteAhead;
    use crate::checkpoint::store::ObjectStorePlace;
    use crate::event::Batch;
    use crate::sink::Place;
    use arrow::array::{Int64Array, RecordBatch, UInt8Array};
    use std::sync::Arc;

    fn place() -> Place {
        let store =
            Arc::new(ObjectStorePlace::new(Arc::new(object_store::memory::InMemory::new()), "memory"));
        Place {
            store,
            job: "job".into(),
            folder: "uuid".into(),
            identity: "out".into(),
            attempt: 2,
            workers: 1,
            epoch: 0,
        }
    }

    fn batch(rows: Vec<i64>, changes: Option<Vec<u8>>) -> Batch {
        let column: arrow::array::ArrayRef = Arc::new(Int64Array::from(rows));
        let records = RecordBatch::try_from_iter([("n", column)]).unwrap();
        Batch { records, changes: changes.map(UInt8Array::from), order: None }
    }

    #[test]
    fn rows_and_what_happens_to_them_come_back() {
        let ahead = WriteAhead::new(&place());
        let object = ahead.write(7, 1, &[batch(vec![1, 2], None), batch(vec![3], Some(vec![3]))]).unwrap();
        assert_eq!((object.name.as_str(), object.rows), ("sink/out/2-7-1.arrow", 3));
        let back = ahead.read(&object).unwrap();
        assert_eq!(back.iter().map(|one| one.changes.clone().unwrap()).collect::<Vec<_>>().len(), 2);
        assert_eq!(back[1].changes, Some(UInt8Array::from(vec![3])));
        assert_eq!(back[0].records, batch(vec![1, 2], None).records);
    }

    #[test]
    fn damaged_rows_are_named() {
        let place = place();
        let ahead = WriteAhead::new(&place);
        let object = ahead.write(7, 1, &[batch(vec![1], None)]).unwrap();
        place.store.delete(&object.name).unwrap();
        place.store.create(&object.name, b"torn".to_vec()).unwrap();
        let error = ahead.read(&object).unwrap_err().to_string();
        assert!(error.contains("sink/out/2-7-1.arrow") && error.contains("damaged"), "{error}");
    }

    #[test]
    fn published_epoch_is_known_as_such() {
        let ahead = WriteAhead::new(&place());
        assert!(!ahead.is_done(2, 7).unwrap());
        ahead.set_done(2, 7).unwrap();
        ahead.set_done(2, 7).unwrap();
        assert!(ahead.is_done(2, 7).unwrap());
    }
}
