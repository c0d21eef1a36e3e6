//! Simple aggregates of one operator in one pass: a group's cells are read once a row, however many aggregates it has.
//!
//! Simple is what one row changes by one operation on words: `len`, `sum` of integers, `min` and `max` of words, without
//! filters and nulls. Rows of a frequent key follow each other, so that separate passes wait for the same cells again and
//! again. Up to three aggregates are compiled together. Not here: what the words of an aggregate mean (its own file).
//! Called by `state::cell_store`.

/// How one row changes the words of one aggregate.
#[derive(Clone, Copy, Debug)]
pub enum Fold<'a> {
    /// Adds one.
    Count,
    /// Adds the value, wrapping.
    Sum(&'a [i64]),
    /// Keeps the smaller; see [`Extreme`].
    Min(&'a [i64]),
    /// Keeps the larger.
    Max(&'a [i64]),
}

/// One aggregate's change, and the words that it has in a group's cells.
trait Step: Copy {
    const WORDS: usize;
    fn apply(self, words: &mut [u64], row: usize);
}

#[derive(Clone, Copy)]
struct Count;

impl Step for Count {
    const WORDS: usize = 1;
    #[inline(always)]
    fn apply(self, words: &mut [u64], _row: usize) {
        words[0] += 1;
    }
}

#[derive(Clone, Copy)]
struct Sum<'a>(&'a [i64]);

impl Step for Sum<'_> {
    const WORDS: usize = 1;
    #[inline(always)]
    fn apply(self, words: &mut [u64], row: usize) {
        words[0] = words[0].wrapping_add(self.0[row] as u64);
    }
}

/// The best value, and a word that is set by a value at the far end, which looks like none.
#[derive(Clone, Copy)]
struct Extreme<'a, const MAX: bool>(&'a [i64]);

impl<const MAX: bool> Step for Extreme<'_, MAX> {
    const WORDS: usize = 2;
    #[inline(always)]
    fn apply(self, words: &mut [u64], row: usize) {
        let value = self.0[row];
        let best = words[0] as i64;
        words[0] = if MAX { best.max(value) } else { best.min(value) } as u64;
        if value == if MAX { i64::MIN } else { i64::MAX } {
            words[1] = 1;
        }
    }
}

#[derive(Clone, Copy)]
struct Both<A, B>(A, B);

impl<A: Step, B: Step> Step for Both<A, B> {
    const WORDS: usize = A::WORDS + B::WORDS;
    #[inline(always)]
    fn apply(self, words: &mut [u64], row: usize) {
        let (first, second) = words.split_at_mut(A::WORDS);
        self.0.apply(first, row);
        self.1.apply(second, row);
    }
}

#[inline(always)]
fn run<S: Step>(step: S, cells: &mut [u64], stride: usize, slots: &[u32]) {
    for (row, slot) in slots.iter().enumerate() {
        let start = *slot as usize * stride;
        step.apply(&mut cells[start..start + S::WORDS], row);
    }
}

/// Runs `$body` with `$step` bound to the compiled form of a fold.
macro_rules! with_step {
    ($fold:expr, $step:ident => $body:expr) => {
        match $fold {
            Fold::Count => {
                let $step = Count;
                $body
            }
            Fold::Sum(values) => {
                let $step = Sum(values);
                $body
            }
            Fold::Min(values) => {
                let $step = Extreme::<false>(values);
                $body
            }
            Fold::Max(values) => {
                let $step = Extreme::<true>(values);
                $body
            }
        }
    };
}

/// Adds rows to the cells of their groups, `stride` words each, in which the aggregates lie in the order of `folds`. The
/// values of row n belong to the group `slots[n]`. False: there are too many aggregates, and nothing was done.
pub fn fold_rows(folds: &[Fold<'_>], cells: &mut [u64], stride: usize, slots: &[u32]) -> bool {
    match folds {
        [a] => with_step!(a, a => run(a, cells, stride, slots)),
        [a, b] => with_step!(a, a => with_step!(b, b => run(Both(a, b), cells, stride, slots))),
        [a, b, c] => with_step!(a, a => with_step!(b, b => with_step!(c, c => {
            run(Both(a, Both(b, c)), cells, stride, slots)
        }))),
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{Fold, fold_rows};

    #[test]
    fn three_aggregates_lie_side_by_side() {
        let values = [5, -1, 7, i64::MIN];
        let mut cells = vec![0, 0, i64::MIN as u64, 0, 0, 0, i64::MIN as u64, 0];
        let folds = [Fold::Count, Fold::Sum(&values[..3]), Fold::Max(&values[..3])];
        assert!(fold_rows(&folds, &mut cells, 4, &[1, 0, 1]));
        assert_eq!(cells, [1, u64::MAX, u64::MAX, 0, 2, 12, 7, 0]);
    }

    #[test]
    fn value_at_the_far_end_is_told_from_none() {
        let mut cells = vec![i64::MIN as u64, 0, i64::MAX as u64, 0];
        assert!(fold_rows(&[Fold::Max(&[i64::MIN]), Fold::Min(&[3])], &mut cells, 4, &[0]));
        assert_eq!(cells, [i64::MIN as u64, 1, 3, 0]);
    }

    #[test]
    fn more_aggregates_are_left_to_the_caller() {
        assert!(!fold_rows(&[Fold::Count; 4], &mut [0; 4], 4, &[0]));
        assert!(!fold_rows(&[], &mut [], 0, &[0]));
    }
}
