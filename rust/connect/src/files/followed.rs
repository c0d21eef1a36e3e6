//! A folder that is followed: the same split going on while files arrive.
//!
//! A file counts when its name and the folders on its way do not begin with `.` or `_`, its size and time have not
//! changed over two polls, and its format finds it whole. Files that count are read in the order of their names; one that
//! sorts before a file already read is read next, and status says so. The offset holds the names read that are still
//! there: a file that arrived during a stop is found, a file that was tidied away costs nothing. Not here: reading a file
//! (`scan.rs`).

use crate::blocking::Outlet;
use crate::files::format::damaged;
use crate::files::scan::{Place, Walk};
use dataflare_engine::{EngineError, Result};
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// What is followed: a folder, or a pattern.
#[derive(Clone, Debug)]
pub struct Followed {
    /// Names are relative to it.
    base: PathBuf,
    /// Pattern of each part of a name; empty: all files of the format, at any depth.
    pattern: Vec<String>,
    pub poll: Duration,
}

/// A file as a poll found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
}

/// A file that is not read yet.
#[derive(Debug)]
struct Candidate {
    stamp: Stamp,
    /// When it was first seen like this.
    since: Instant,
    /// It is whole and waits to be read.
    counts: bool,
}

/// What has been read, and what waits.
struct Progress {
    /// Names in the order of reading, each followed by a line break: so it stands in the offset.
    text: String,
    read: HashSet<String>,
    candidates: BTreeMap<String, Candidate>,
}

impl Followed {
    /// # Errors
    /// [`EngineError::Call`]: a pattern with `[`, which cannot be followed.
    pub fn new(path: &Path, poll: Duration) -> Result<Self> {
        let parts: Vec<String> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if parts.iter().any(|part| part.contains('[')) {
            return Err(EngineError::call(
                path.display().to_string(),
                "a followed pattern of * and ?",
                "one with [",
            ));
        }
        let plain = parts.iter().position(|part| part.contains(['*', '?'])).unwrap_or(parts.len());
        let base: PathBuf = parts.iter().take(plain).collect();
        let base = if base.as_os_str().is_empty() { PathBuf::from(".") } else { base };
        Ok(Self { base, pattern: parts.into_iter().skip(plain).collect(), poll })
    }

    /// # Errors
    /// [`EngineError::Call`]: there is no folder.
    pub fn check(&self) -> Result<()> {
        let place = || self.base.display().to_string();
        match fs::metadata(&self.base) {
            Ok(metadata) if metadata.is_dir() => Ok(()),
            Ok(_) => Err(EngineError::call(place(), "a folder to follow", "a file")),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(EngineError::call(place(), "a folder to follow", "nothing there"))
            }
            Err(error) => Err(EngineError::unavailable(place(), error)),
        }
    }

    /// Reads files as they arrive, until nobody wants more.
    ///
    /// # Errors
    /// As for a scan; [`EngineError::Data`]: a file that counted was truncated or deleted before it was read.
    pub fn run(&self, walk: &Walk, place: Option<&Place>, outlet: &Outlet) -> Result<()> {
        let mut at = place.cloned().unwrap_or_default();
        let mut progress = Progress::new(at.read.as_deref().unwrap_or_default());
        if let Some(first) = progress.first_in(&self.base) {
            walk.format.prime(&first)?;
        }
        if place.is_some() {
            let name = at.file.clone();
            if !at.done && !walk.read_file(&self.resume(&name)?, &mut at, outlet)? {
                return Ok(());
            }
            progress.finish(&name);
        }
        loop {
            self.poll(walk, &mut progress)?;
            let Some(name) = progress.next() else {
                if outlet.wait(self.poll) {
                    continue;
                }
                return Ok(());
            };
            if let Some(later) = progress.read.iter().filter(|read| **read > name).max() {
                let late = format!("'{name}' arrived after '{later}', which sorts behind it, had been read");
                walk.notes().late = Some(late);
            }
            at = Place {
                file: name.clone(),
                position: 0,
                done: false,
                read: Some(progress.text.clone()),
                ..at
            };
            if !walk.read_file(&self.base.join(&name), &mut at, outlet)? {
                return Ok(());
            }
            progress.finish(&name);
        }
    }

    /// The file at which the checkpoint stands.
    fn resume(&self, name: &str) -> Result<PathBuf> {
        let path = self.base.join(name);
        match path.exists() {
            true => Ok(path),
            false => Err(damaged(&path, 0, "deleted before it was read whole")),
        }
    }

    /// Looks once.
    fn poll(&self, walk: &Walk, progress: &mut Progress) -> Result<()> {
        let mut found = BTreeMap::new();
        self.list(&self.base, "", walk.format.extensions(), &mut found)?;
        progress.forget_gone(&found);
        let gone = progress
            .candidates
            .iter()
            .find(|(name, candidate)| candidate.counts && !found.contains_key(*name));
        if let Some((name, _)) = gone {
            return Err(damaged(&self.base.join(name), 0, "deleted before it was read"));
        }
        progress.candidates.retain(|name, _| found.contains_key(name));
        let now = Instant::now();
        let mut unfinished = None;
        for (name, stamp) in found.into_iter().filter(|(name, _)| !progress.read.contains(name)) {
            let path = self.base.join(&name);
            let fresh = Candidate { stamp, since: now, counts: false };
            let candidate = progress.candidates.entry(name).or_insert(fresh);
            if candidate.stamp != stamp {
                if candidate.counts && stamp.bytes < candidate.stamp.bytes {
                    return Err(damaged(&path, 0, "truncated before it was read"));
                }
                *candidate = Candidate { stamp, since: now, counts: false };
            } else if !candidate.counts && now.duration_since(candidate.since) >= self.poll {
                candidate.counts = walk.format.is_complete(&path);
                if !candidate.counts {
                    unfinished.get_or_insert(path);
                }
            }
        }
        let waits_for = |path: PathBuf| format!("'{}' is not a whole file yet", path.display());
        walk.notes().waits_for = unfinished.map(waits_for);
        Ok(())
    }

    /// Files below a folder, without hidden ones.
    fn list(
        &self,
        folder: &Path,
        prefix: &str,
        kinds: &[&str],
        found: &mut BTreeMap<String, Stamp>,
    ) -> Result<()> {
        let unavailable =
            |error: std::io::Error| EngineError::unavailable(folder.display().to_string(), error);
        for entry in fs::read_dir(folder).map_err(unavailable)? {
            let entry = entry.map_err(unavailable)?;
            let part = entry.file_name().to_string_lossy().into_owned();
            if part.starts_with(['.', '_']) {
                continue;
            }
            if part.contains('\n') {
                let place = format!("{}, '{}'", folder.display(), part.escape_debug());
                return Err(EngineError::call(place, "names without line breaks", "one with"));
            }
            let metadata = match fs::metadata(entry.path()) {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(unavailable(error)),
            };
            let name = format!("{prefix}{part}");
            if metadata.is_dir() {
                self.list(&entry.path(), &format!("{name}/"), kinds, found)?;
            } else if self.takes(&name, kinds) {
                found.insert(name, Stamp::of(&metadata));
            }
        }
        Ok(())
    }

    fn takes(&self, name: &str, kinds: &[&str]) -> bool {
        let is_of = |kind: &&str| name.strip_suffix(*kind).is_some_and(|stem| stem.ends_with('.'));
        match self.pattern.as_slice() {
            [] => kinds.iter().any(is_of),
            pattern => parts_match(pattern, &name.split('/').collect::<Vec<_>>()),
        }
    }
}

/// `**` stands for any number of folders.
fn parts_match(pattern: &[String], parts: &[&str]) -> bool {
    match (pattern.split_first(), parts.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "**" => {
            parts_match(rest, parts)
                || parts.split_first().is_some_and(|(_, below)| parts_match(pattern, below))
        }
        (Some((first, rest)), Some((part, below))) => {
            let (first, part): (Vec<char>, Vec<char>) = (first.chars().collect(), part.chars().collect());
            part_matches(&first, &part) && parts_match(rest, below)
        }
        _ => false,
    }
}

/// `*`: any characters, `?`: one. Goes back to the last star only: linear for one star, never exponential.
fn part_matches(pattern: &[char], part: &[char]) -> bool {
    let (mut p, mut c, mut star) = (0, 0, None);
    while c < part.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, c));
                p += 1;
            }
            Some(wanted) if *wanted == '?' || part.get(c) == Some(wanted) => {
                p += 1;
                c += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    c = from + 1;
                    star = Some((at, c));
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|character| *character == '*')
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { bytes: metadata.len(), modified: metadata.modified().ok() }
    }
}

impl Progress {
    fn new(text: &str) -> Self {
        let read = text.lines().map(str::to_owned).collect();
        Self { text: text.to_owned(), read, candidates: BTreeMap::new() }
    }

    fn first_in(&self, base: &Path) -> Option<PathBuf> {
        self.text.lines().map(|name| base.join(name)).find(|path| path.exists())
    }

    /// The first name that counts.
    fn next(&self) -> Option<String> {
        self.candidates.iter().find(|(_, candidate)| candidate.counts).map(|(name, _)| name.clone())
    }

    fn finish(&mut self, name: &str) {
        self.candidates.remove(name);
        if self.read.insert(name.to_owned()) {
            self.text.push_str(name);
            self.text.push('\n');
        }
    }

    /// Bounds the offset by what the folder holds.
    fn forget_gone(&mut self, found: &BTreeMap<String, Stamp>) {
        let before = self.read.len();
        self.read.retain(|name| found.contains_key(name));
        if self.read.len() < before {
            let kept = self.text.lines().filter(|name| self.read.contains(*name));
            self.text = kept.flat_map(|name| [name, "\n"]).collect();
        }
    }
}

#[cfg(test)]
mod tests;
