//! The proleptic Gregorian calendar on day numbers: months and month ends, without limits.
//!
//! Not here: time zones (`zone.rs`), windows (`grid.rs`). chrono is not used because its years end at 262 000, and an
//! event time may be any `i64`. Algorithm: Howard Hinnant, "chrono-compatible low-level date algorithms".

/// Months since January 1970 and the day of the month, counted from 0, of a day counted from 1970-01-01.
pub fn month_of(day: i64) -> (i64, i64) {
    // Years begin in March and eras of 400 years on 0000-03-01, so that leap days come last.
    let shifted = i128::from(day) + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * march_month + 2) / 5;
    let month = (era * 400 + year_of_era) * 12 + march_month + 2 - 1_970 * 12;
    (saturate(month), saturate(day_of_month))
}

/// The first day of a month counted from January 1970.
pub fn first_day(month: i64) -> i64 {
    let from_march = i128::from(month) + 1_970 * 12 - 2;
    let year = from_march.div_euclid(12);
    let day_of_year = (153 * from_march.rem_euclid(12) + 2) / 5;
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    saturate(era * 146_097 + day_of_era - 719_468)
}

/// The same day `months` later; the last day of the month if it has fewer days (Jan 31 + 1 month = Feb 28).
pub fn add_months(day: i64, months: i64) -> i64 {
    let (month, day_of_month) = month_of(day);
    let target = month.saturating_add(months);
    let first = first_day(target);
    let length = first_day(target.saturating_add(1)).saturating_sub(first);
    first.saturating_add(day_of_month.min(length.saturating_sub(1).max(0)))
}

/// The nearest `i64`.
pub fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::{add_months, first_day, month_of};
    use chrono::{Datelike, NaiveDate};

    fn day(year: i32, month: u32, day: u32) -> i64 {
        let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        (NaiveDate::from_ymd_opt(year, month, day).unwrap() - epoch).num_days()
    }

    #[test]
    fn days_are_chronos_days() {
        let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        for number in (-800_000..800_000).step_by(13) {
            let date = epoch + chrono::Duration::days(number);
            let months = i64::from(date.year() - 1970) * 12 + i64::from(date.month0());
            assert_eq!(month_of(number), (months, i64::from(date.day0())), "{date}");
            assert_eq!(first_day(months), number - i64::from(date.day0()), "{date}");
        }
    }

    #[test]
    fn month_end_is_kept_inside_the_month() {
        assert_eq!(add_months(day(2023, 1, 31), 1), day(2023, 2, 28));
        assert_eq!(add_months(day(2024, 1, 31), 1), day(2024, 2, 29));
        assert_eq!(add_months(day(1900, 3, 30), -1), day(1900, 2, 28));
        assert_eq!(add_months(day(1969, 12, 15), 13), day(1971, 1, 15));
    }

    #[test]
    fn extreme_days_saturate() {
        for extreme in [i64::MIN, i64::MAX] {
            let (month, _) = month_of(extreme);
            first_day(month);
            add_months(extreme, i64::MAX);
            add_months(extreme, i64::MIN);
        }
        assert_eq!(first_day(i64::MAX), i64::MAX);
    }
}
