//! Smallest and largest of a slice, and which values lie between two, as fast as the memory gives it.
//!
//! The oldest x86-64 cannot compare 64-bit lanes, so the loop is compiled twice and chosen at run time. Not here: nulls,
//! which callers look at first. Called for event times (lateness, panes) and for keys (how close together they lie).

/// Smallest and largest; `None` for no values.
pub fn bounds(values: &[i64]) -> Option<(i64, i64)> {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which is all that the function asks for.
        return unsafe { bounds_avx2(values) };
    }
    bounds_of(values)
}

/// How many of the first values lie in `low..=high`.
pub fn prefix_within(values: &[i64], low: i64, high: i64) -> usize {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: as above.
        return unsafe { prefix_avx2(values, low, high) };
    }
    prefix_of(values, low, high)
}

/// The path that the functions of this module take on this processor, for `dataflare doctor`.
pub fn path() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        return "avx2";
    }
    "baseline"
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn bounds_avx2(values: &[i64]) -> Option<(i64, i64)> {
    bounds_of(values)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn prefix_avx2(values: &[i64], low: i64, high: i64) -> usize {
    prefix_of(values, low, high)
}

#[inline(always)]
fn prefix_of(values: &[i64], low: i64, high: i64) -> usize {
    let is_within = |value: &i64| (low <= *value) & (*value <= high);
    let all_within = |chunk: &&[i64]| chunk.iter().fold(true, |all, value| all & is_within(value));
    let whole = 64 * values.chunks(64).take_while(all_within).count();
    match values.get(whole..) {
        Some(rest) => whole + rest.iter().take_while(|value| is_within(value)).count(),
        None => values.len(),
    }
}

#[inline(always)]
fn bounds_of(values: &[i64]) -> Option<(i64, i64)> {
    let first = *values.first()?;
    let (eights, rest) = values.as_chunks::<8>();
    let (mut low, mut high) = ([first; 8], [first; 8]);
    for eight in eights {
        for lane in 0..8 {
            low[lane] = low[lane].min(eight[lane]);
            high[lane] = high[lane].max(eight[lane]);
        }
    }
    let min = low.iter().chain(rest).fold(first, |a, b| a.min(*b));
    Some((min, high.iter().chain(rest).fold(first, |a, b| a.max(*b))))
}

#[cfg(test)]
mod tests {
    use super::{bounds, prefix_within};

    #[test]
    fn ends_are_found_in_every_lane_and_in_the_rest() {
        for length in 1..40 {
            for place in 0..length {
                let mut values = vec![5; length];
                values[place] = -7;
                assert_eq!(bounds(&values), Some((-7, if length == 1 { -7 } else { 5 })));
                values[place] = i64::MAX;
                assert_eq!(bounds(&values), Some((if length == 1 { i64::MAX } else { 5 }, i64::MAX)));
            }
        }
        assert_eq!(bounds(&[]), None);
    }

    #[test]
    fn prefix_ends_at_the_first_value_outside() {
        for length in 0..200 {
            let mut values = vec![5; length];
            assert_eq!(prefix_within(&values, 5, 5), length);
            for place in (0..length).step_by(7) {
                values[place] = 6;
                assert_eq!(prefix_within(&values, 0, 5), place);
                values[place] = 5;
            }
        }
    }
}
