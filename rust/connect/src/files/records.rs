//! Where the records of a text end: at line breaks that are not inside quotes.
//!
//! Called by `text.rs` with a text that comes piece by piece; the answer does not depend on the pieces. Not here: what a
//! record means.

use memchr::{memchr, memchr2};

/// Where records end.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// The byte that ends a record.
    pub line: u8,
    /// A line break between two of these does not end a record.
    pub quote: Option<u8>,
    /// With it quotes count at the beginning of a field only; without it, everywhere.
    pub separator: Option<u8>,
    /// A record that begins so ends at the next line break.
    pub comment: Option<Vec<u8>>,
    /// A byte order mark at the beginning is no text.
    pub skips_mark: bool,
    /// So many lines at the beginning end at the next line break.
    pub plain_lines: usize,
}

impl Ends {
    /// Each line is a record.
    pub fn lines() -> Self {
        Self { line: b'\n', ..Self::default() }
    }
}

/// Finds the ends of records in a text that comes piece by piece.
#[derive(Debug)]
pub struct Scanner {
    pub ends: Ends,
    /// Bytes looked at.
    at: usize,
    state: State,
    /// Behind the last quote that closed.
    closed: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Between,
    Plain,
    Open,
    Quoted,
}

impl Scanner {
    pub fn new(ends: Ends) -> Self {
        Self { ends, at: 0, state: State::Between, closed: usize::MAX }
    }

    /// Looks at what follows in `text`; pushes the place behind each record.
    pub fn scan(&mut self, text: &[u8], is_all: bool, found: &mut Vec<usize>) {
        while let Some(rest) = text.get(self.at..).filter(|rest| !rest.is_empty()) {
            let step = match self.state {
                State::Between => {
                    let comment = self.ends.comment.as_deref();
                    if comment.is_some_and(|comment| rest.len() < comment.len()) && !is_all {
                        return;
                    }
                    let is_comment = comment.is_some_and(|comment| rest.starts_with(comment));
                    self.state =
                        if self.ends.plain_lines > 0 || is_comment { State::Plain } else { State::Open };
                    self.ends.plain_lines = self.ends.plain_lines.saturating_sub(1);
                    continue;
                }
                State::Plain => memchr(self.ends.line, rest),
                State::Open => match self.ends.quote {
                    None => memchr(self.ends.line, rest),
                    Some(quote) => memchr2(self.ends.line, quote, rest),
                },
                State::Quoted => memchr(self.ends.quote.unwrap_or_default(), rest),
            };
            let Some(step) = step else {
                self.at = text.len();
                return;
            };
            let place = self.at + step;
            self.at = place + 1;
            match self.state {
                State::Quoted => {
                    self.state = State::Open;
                    self.closed = self.at;
                }
                _ if text.get(place) == Some(&self.ends.line) => {
                    found.push(self.at);
                    self.state = State::Between;
                }
                _ if self.opens(text, place, found.last().copied().unwrap_or(0)) => {
                    self.state = State::Quoted
                }
                _ => {}
            }
        }
    }

    /// True if the quote at `place` opens a quoted text; the record began at `start`.
    fn opens(&self, text: &[u8], place: usize, start: usize) -> bool {
        let Some(separator) = self.ends.separator else { return true };
        place == start || self.closed == place || text.get(place.wrapping_sub(1)) == Some(&separator)
    }

    /// Bytes at the beginning were handed on.
    pub fn forget(&mut self, bytes: usize) {
        self.at -= bytes;
        // A quote that is gone closes nothing.
        self.closed = if self.closed > bytes { self.closed - bytes } else { usize::MAX };
    }
}

#[cfg(test)]
mod tests {
    use super::{Ends, Scanner};
    use proptest::prelude::{prop_assert_eq, proptest};

    fn ends_of(text: &str, ends: &Ends, cut: usize) -> Vec<usize> {
        let mut scanner = Scanner::new(ends.clone());
        let mut found = Vec::new();
        let cut = cut.min(text.len());
        scanner.scan(&text.as_bytes()[..cut], false, &mut found);
        let handed = found.last().copied().unwrap_or(0);
        scanner.forget(handed);
        let mut rest = Vec::new();
        scanner.scan(&text.as_bytes()[handed..], true, &mut rest);
        found.extend(rest.into_iter().map(|end| end + handed));
        found
    }

    #[test]
    fn line_breaks_inside_quotes_and_quotes_inside_comments_do_not_count() {
        let ends = Ends { line: b'\n', quote: Some(b'"'), comment: Some(b"#".to_vec()), ..Ends::default() };
        assert_eq!(ends_of("a\n\"b\n\"\"c\"\nd\n", &ends, 0), [2, 10, 12]);
        assert_eq!(ends_of("# it's \"\na\n", &ends, 0), [9, 11]);
        let strict = Ends { separator: Some(b','), ..ends.clone() };
        assert_eq!(ends_of("5\" tall\n1,\"x\ny\"\n", &strict, 0), [8, 16]);
        assert_eq!(ends_of("5\" tall\n1,\"x\ny\"\n", &ends, 0), [13]);
        let raw = Ends { plain_lines: 1, ..ends };
        assert_eq!(ends_of("a \" b\nc\n", &raw, 0), [6, 8]);
    }

    proptest! {
        #[test]
        fn records_do_not_depend_on_cuts(text in "[ab,\"#\n]{0,40}", cut in 0_usize..40, strict in proptest::bool::ANY) {
            let separator = strict.then_some(b',');
            let ends = Ends { line: b'\n', quote: Some(b'"'), separator, comment: Some(b"##".to_vec()), ..Ends::default() };
            prop_assert_eq!(ends_of(&text, &ends, cut), ends_of(&text, &ends, 0));
        }
    }
}
