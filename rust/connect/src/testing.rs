//! Reads a source to its end, for the tests of this crate.

use arrow::record_batch::RecordBatch;
use dataflare_engine::Result;
use dataflare_engine::source::{Offset, Poll, Rejected, Source, Waker};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

/// A decoded batch with its place.
#[derive(Clone, Debug)]
pub struct Taken {
    pub first: u64,
    pub next: Offset,
    pub records: RecordBatch,
    pub positions: Option<Vec<u64>>,
    pub rejected: Vec<Rejected>,
}

/// All batches of the only split, from `offset` on.
pub fn drain(source: &dyn Source, offset: Option<&Offset>) -> Result<Vec<Taken>> {
    take(source, offset, usize::MAX)
}

/// At most `most` batches of the only split.
pub fn take(source: &dyn Source, offset: Option<&Offset>, most: usize) -> Result<Vec<Taken>> {
    let mut taken = Vec::new();
    visit(source, offset, most, |one| taken.push(one))?;
    Ok(taken)
}

/// Shows all batches of the only split to `see`, one by one.
pub fn each(source: &dyn Source, see: impl FnMut(Taken)) -> Result<()> {
    visit(source, None, usize::MAX, see)
}

fn visit(
    source: &dyn Source,
    offset: Option<&Offset>,
    most: usize,
    mut see: impl FnMut(Taken),
) -> Result<()> {
    let (sender, woken) = channel();
    let waker: Waker = Arc::new(move || {
        let _ = sender.send(());
    });
    let split = source.splits()?.remove(0);
    let mut reader = source.open(&split, offset, waker)?;
    let mut seen = 0;
    while seen < most {
        match reader.poll()? {
            Poll::Pending => woken.recv_timeout(Duration::from_secs(20)).unwrap(),
            Poll::End => break,
            Poll::Ready(batch) => {
                let decoded = (batch.decode)()?;
                let (records, positions, rejected) = (decoded.records, decoded.positions, decoded.rejected);
                seen += 1;
                see(Taken { first: batch.first, next: batch.next, records, positions, rejected });
            }
        }
    }
    Ok(())
}
