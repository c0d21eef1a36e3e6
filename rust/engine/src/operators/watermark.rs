//! `with_watermark`: drops late rows and starts event time.
//!
//! In: append batches with a place in the input. Out: port 0 the rows on time, port 1 the late ones (null times too),
//! port 2 rows more than `ahead` beyond their split, which follow `on_error`. One batch out for each batch in.
//! Not here: where W comes from when batches of a split lie on several workers (`runtime::sequencer`).
//! Forwards: the promise P, behind all rows of the published prefix that this instance holds. State: the sequencer's,
//! which the coordinator reads at the cut.
//! Cost: the bounds of each 1 024 rows; a running maximum only where they may hold a late row.

use super::error_policy::ErrorPolicy;
use super::{Flow, Input, Operator, Output};
use crate::bounds::bounds;
use crate::error::{EngineError, Result, RowError, RowErrors};
use crate::event::{Batch, Order, TIME};
use crate::operators::project::ticks;
use crate::runtime::sequencer::{Sequencer, SplitTime};
use crate::time::{Clock, Instant, Timestamp};
use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema};
use std::collections::VecDeque;
use std::sync::Arc;

/// Rows that are judged by their bounds at once.
const CHUNK_ROWS: usize = 1_024;

/// Port of late rows.
pub const LATE: usize = 1;
/// Port of rows that are too far ahead.
pub const AHEAD: usize = 2;

/// See the module.
#[derive(Debug)]
pub struct Watermark {
    column: usize,
    keep_time: bool,
    /// Somebody reads the late rows: each batch gives one there too, so that their numbers have no holes.
    has_late: bool,
    sequencer: Arc<Sequencer>,
    clock: Arc<dyn Clock>,
    policy: ErrorPolicy,
    waiting: VecDeque<Waiting>,
    forwarded: Timestamp,
    /// When to look for silent splits.
    next_look: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    batch: Batch,
    order: Order,
    times: Int64Array,
    extents: Vec<(i64, i64)>,
}

impl Watermark {
    /// `column`: index of the time column. `keep_time`: order is needed above, so the time travels as a hidden column.
    pub fn new(
        column: usize,
        keep_time: bool,
        has_late: bool,
        sequencer: Arc<Sequencer>,
        clock: Arc<dyn Clock>,
        policy: ErrorPolicy,
    ) -> Self {
        let next_look = look_after(clock.now(), &sequencer);
        Self {
            column,
            keep_time,
            has_late,
            sequencer,
            clock,
            policy,
            waiting: VecDeque::new(),
            forwarded: Timestamp::MIN,
            next_look,
        }
    }

    /// Releases what can be released. It goes on taking batches while others wait: a batch of another split behind them
    /// may be the one that another worker waits for. The dealer bounds how many are on their way.
    fn step(&mut self, out: &mut Output) -> Result<()> {
        // P is read before anything is released: it covers only batches that were published by then, and those of them
        // which this instance holds are released below, since all before them are published too.
        let promise = self.sequencer.promise();
        // Not only the first: with `ahead` a batch is published when it is released, and another worker may wait for it.
        let mut index = 0;
        while let Some(waiting) = self.waiting.get(index) {
            let key = (waiting.order.input, waiting.order.split);
            match self.sequencer.take_before(key, waiting.order.sequence) {
                Some(before) => {
                    if let Some(waiting) = self.waiting.remove(index) {
                        self.release(waiting, before, out)?;
                    }
                }
                None => index += 1,
            }
        }
        // With `ahead`, releasing publishes: what is still held is outside the prefix either way.
        if promise > self.forwarded {
            self.forwarded = promise;
            out.watermark(promise);
        }
        Ok(())
    }

    fn release(&mut self, waiting: Waiting, before: SplitTime, out: &mut Output) -> Result<()> {
        let Waiting { batch, order, times, extents } = waiting;
        let lateness = self.sequencer.lateness();
        let verdict = judge(&times, &extents, before, lateness.delay, lateness.ahead);
        if lateness.ahead.is_some() {
            self.sequencer.publish(
                (order.input, order.split),
                order.sequence,
                verdict.maximum,
                self.clock.now(),
            );
        }
        let Some(fates) = verdict.fates else {
            if self.has_late {
                let records = without_time(batch.records.slice(0, 0))?;
                out.push_to(LATE, batch.clone().with_records(records));
            }
            out.push(self.timed(batch, &times)?);
            return Ok(());
        };
        let errors = self.errors_of(&fates, &batch);
        if let (_, Some(letter)) = self.policy.apply(&batch, &errors)? {
            out.push_to(AHEAD, letter);
        }
        let mask_of = |fate| -> BooleanArray { fates.iter().map(|one| Some(*one == fate)).collect() };
        let late = mask_of(Fate::Late);
        if self.has_late || late.true_count() > 0 {
            // Without event times, also those of a watermark below: they stand split by split.
            let records = without_time(filter_record_batch(&batch.records, &late)?)?;
            out.push_to(LATE, batch.clone().with_records(records));
        }
        let batch = self.timed(batch, &times)?;
        let records = filter_record_batch(&batch.records, &mask_of(Fate::OnTime))?;
        out.push(batch.with_records(records));
        Ok(())
    }

    /// With the hidden column of event times, if operators above need it.
    fn timed(&self, batch: Batch, times: &Int64Array) -> Result<Batch> {
        if self.keep_time { with_time(batch, times) } else { Ok(batch) }
    }

    fn errors_of(&self, fates: &[Fate], batch: &Batch) -> RowErrors {
        let column = batch.records.schema().field(self.column).name().clone();
        let ahead = fates.iter().enumerate().filter(|(_, fate)| **fate == Fate::Ahead);
        let message = "the event time lies further ahead of its split than `ahead` allows".to_owned();
        ahead
            .map(|(row, _)| RowError { row, code: "ahead", place: column.clone(), message: message.clone() })
            .collect()
    }
}

impl Operator for Watermark {
    fn sees_all(&self) -> bool {
        // A batch that is dealt and never published would leave a hole in its split.
        true
    }

    fn on_batch(&mut self, _input: Input, batch: Batch, out: &mut Output) -> Result<Flow> {
        let order = batch
            .order
            .ok_or_else(|| EngineError::internal("with_watermark", "a batch without a place in its split"))?;
        let times = ticks(batch.records.column(self.column))?;
        let extents = extents(&times);
        if self.sequencer.lateness().ahead.is_none() {
            let maximum = match times.null_count() {
                0 => extents.iter().map(|(_, largest)| *largest).max(),
                _ => arrow::compute::max(&times),
            };
            let maximum = maximum.map(Timestamp);
            self.sequencer.publish((order.input, order.split), order.sequence, maximum, self.clock.now());
        }
        self.waiting.push_back(Waiting { batch, order, times, extents });
        self.step(out)?;
        Ok(Flow::Ready)
    }

    fn on_watermark(&mut self, _: Input, _: Timestamp, _: Timestamp, _: &mut Output) -> Result<Flow> {
        // Event time below, if any, is replaced by this node's own.
        Ok(Flow::Ready)
    }

    fn on_end(&mut self, _input: Input, out: &mut Output) -> Result<Flow> {
        self.step(out)?;
        Ok(if self.waiting.is_empty() { Flow::Ready } else { Flow::More })
    }

    fn on_more(&mut self, out: &mut Output) -> Result<Flow> {
        // After the end: More until the last one has left. Before it: as with a batch.
        self.on_end(0, out)
    }

    fn is_due(&self) -> bool {
        let can_leave = |waiting: &Waiting| {
            self.sequencer.is_known_before((waiting.order.input, waiting.order.split), waiting.order.sequence)
        };
        self.sequencer.promise() > self.forwarded || self.waiting.iter().any(can_leave)
    }

    fn is_settled(&mut self) -> Result<bool> {
        Ok(self.waiting.is_empty())
    }

    fn deadline(&self) -> Option<Instant> {
        self.next_look
    }

    fn on_clock(&mut self, now: Instant, out: &mut Output) -> Result<Flow> {
        self.next_look = look_after(now, &self.sequencer);
        self.sequencer.on_clock(now);
        self.step(out)?;
        Ok(Flow::Ready)
    }

    fn state_bytes(&self) -> usize {
        self.waiting.iter().map(|waiting| waiting.batch.bytes()).sum()
    }
}

/// A few times per idle period, so that P follows the clock smoothly.
fn look_after(now: Instant, sequencer: &Sequencer) -> Option<Instant> {
    let idle_ns = sequencer.lateness().idle_ns?;
    Some(now.plus((idle_ns / 4).clamp(1_000_000, 1_000_000_000)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    OnTime,
    Late,
    Ahead,
}

struct Verdict {
    /// Per row; `None`: all are on time.
    fates: Option<Vec<Fate>>,
    /// Largest time of the rows that move W.
    maximum: Option<Timestamp>,
}

/// Smallest and largest time of each chunk; without a meaning where times are null.
fn extents(times: &Int64Array) -> Vec<(i64, i64)> {
    times.values().chunks(CHUNK_ROWS).filter_map(bounds).collect()
}

/// A row is late iff its time < W before it; null time is late.
fn judge(
    times: &Int64Array,
    extents: &[(i64, i64)],
    before: SplitTime,
    delay: i64,
    ahead: Option<i64>,
) -> Verdict {
    let mut judging = Judging { time: before, maximum: None, fates: Vec::new(), delay, ahead };
    if times.null_count() == 0 && ahead.is_none() {
        let mut done = 0;
        for (chunk, extent) in times.values().chunks(CHUNK_ROWS).zip(extents) {
            // Rows of a whole batch are often further apart than the delay, those of a chunk seldom.
            if !judging.takes_whole(*extent) {
                // Chunks before it that were taken whole.
                judging.fates.resize(done, Fate::OnTime);
                chunk.iter().for_each(|tick| judging.take(Some(*tick)));
            }
            done += chunk.len();
        }
        if !judging.fates.is_empty() {
            judging.fates.resize(done, Fate::OnTime);
        }
    } else {
        times.iter().for_each(|tick| judging.take(tick));
    }
    let all_on_time = judging.fates.iter().all(|fate| *fate == Fate::OnTime);
    Verdict { fates: (!all_on_time).then_some(judging.fates), maximum: judging.maximum }
}

/// The verdict so far.
struct Judging {
    time: SplitTime,
    maximum: Option<Timestamp>,
    /// Of the rows so far, or empty as long as all are on time.
    fates: Vec<Fate>,
    delay: i64,
    ahead: Option<i64>,
}

impl Judging {
    /// True if all rows of a chunk are on time even behind the largest of them.
    fn takes_whole(&mut self, (least, largest): (i64, i64)) -> bool {
        let highest = SplitTime { maximum: self.time.maximum.max(Timestamp(largest)), ..self.time };
        if Timestamp(least) < highest.watermark(self.delay) {
            return false;
        }
        self.time = highest;
        self.maximum = self.maximum.max(Some(Timestamp(largest)));
        true
    }

    fn take(&mut self, tick: Option<i64>) {
        let fate = match tick.map(Timestamp) {
            None => Fate::Late,
            Some(at) if at < self.time.watermark(self.delay) => Fate::Late,
            Some(at) if is_ahead(at, self.time.maximum, self.ahead) => Fate::Ahead,
            Some(_) => Fate::OnTime,
        };
        if let Some(at) = tick.map(Timestamp)
            && fate != Fate::Ahead
        {
            self.time.maximum = self.time.maximum.max(at);
            self.maximum = self.maximum.max(Some(at));
        }
        self.fates.push(fate);
    }
}

fn is_ahead(at: Timestamp, maximum: Timestamp, ahead: Option<i64>) -> bool {
    ahead.is_some_and(|ahead| maximum != Timestamp::MIN && at.0 > maximum.0.saturating_add(ahead))
}

fn without_time(mut records: RecordBatch) -> Result<RecordBatch> {
    if let Ok(index) = records.schema().index_of(TIME) {
        records.remove_column(index);
    }
    Ok(records)
}

fn with_time(batch: Batch, times: &Int64Array) -> Result<Batch> {
    let schema = batch.records.schema();
    let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
    let mut columns = batch.records.columns().to_vec();
    match schema.index_of(TIME) {
        Ok(index) => columns[index] = Arc::new(times.clone()),
        Err(_) => {
            fields.push(Arc::new(Field::new(TIME, DataType::Int64, true)));
            columns.push(Arc::new(times.clone()));
        }
    }
    let records = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    Ok(batch.with_records(records))
}

#[cfg(test)]
mod tests {
    use super::{Fate, Verdict, extents};
    use crate::runtime::sequencer::SplitTime;
    use crate::time::Timestamp;
    use arrow::array::Int64Array;

    fn judge(times: &Int64Array, before: SplitTime, delay: i64, ahead: Option<i64>) -> Verdict {
        super::judge(times, &extents(times), before, delay, ahead)
    }

    const START: SplitTime = SplitTime { maximum: Timestamp::MIN, floor: Timestamp::MIN };

    #[test]
    fn row_is_late_only_below_the_watermark_before_it() {
        let verdict = judge(&Int64Array::from(vec![1, 100, 5, 96]), START, 4, None);
        assert_eq!(verdict.fates.unwrap(), [Fate::OnTime, Fate::OnTime, Fate::Late, Fate::OnTime]);
    }

    #[test]
    fn null_time_is_late() {
        let verdict = judge(&Int64Array::from(vec![Some(1), None]), START, 4, None);
        assert_eq!(verdict.fates.unwrap(), [Fate::OnTime, Fate::Late]);
    }

    #[test]
    fn row_far_ahead_does_not_move_the_watermark() {
        let verdict = judge(&Int64Array::from(vec![1, 1_000, 2]), START, 4, Some(60));
        assert_eq!(verdict.fates.unwrap(), [Fate::OnTime, Fate::Ahead, Fate::OnTime]);
        assert_eq!(verdict.maximum, Some(Timestamp(2)));
    }

    #[test]
    fn batch_without_late_rows_is_left_whole() {
        assert!(judge(&Int64Array::from(vec![5, 4, 8]), START, 4, None).fates.is_none());
    }

    #[test]
    fn late_rows_are_found_in_any_part_of_a_long_batch() {
        let mut times: Vec<i64> = (0..5_000).collect();
        for row in [1_030, 3_000, 4_999] {
            times[row] -= 20;
        }
        let verdict = judge(&Int64Array::from(times), START, 4, None);
        let fates = verdict.fates.unwrap();
        let late: Vec<usize> = (0..fates.len()).filter(|row| fates[*row] == Fate::Late).collect();
        assert_eq!((fates.len(), late), (5_000, vec![1_030, 3_000, 4_999]));
        assert_eq!(verdict.maximum, Some(Timestamp(4_998)));
    }
}
