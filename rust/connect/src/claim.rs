//! A folder of parts belongs to one job: two would remove each other's hidden rows.
//!
//! The claim is a small file beside the folder (`.out.owner` for `out/`) that names the job and is locked while the job
//! runs. A job with a checkpoint comes back, so its claim lasts as long as there is anything of it in the folder; one
//! without is forgotten when its process ends, however that ends. The lock is advisory (`flock`).
//! Not here: what lies in the folder (`file_sink.rs`). Called where a job opens its sinks.

use dataflare_engine::checkpoint::record::Unconfirmed;
use dataflare_engine::sink::{Place, Prepared, Sink, SinkWriter};
use dataflare_engine::{EngineError, Epoch, Result};
use dataflare_plan::FrameKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Who writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The job, in words; the same after a restart.
    pub job: String,
    /// It may come back for what it has left there.
    pub lasting: bool,
}

/// A sink whose folder is claimed for as long as it lives.
pub struct Claimed {
    inner: Arc<dyn Sink>,
    folder: PathBuf,
    /// There are writers, and so there is the folder.
    is_open: AtomicBool,
    _claim: Claim,
}

impl std::fmt::Debug for Claimed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Claimed({})", self.folder.display())
    }
}

/// `sink`, with the folder that its options name claimed for `owner`. Other sinks pass.
///
/// # Errors
/// [`EngineError::Call`]: another job writes there.
pub fn claimed(sink: Arc<dyn Sink>, options: &Value, owner: &Owner) -> Result<Arc<dyn Sink>> {
    let text = |name: &str| options.get(name).and_then(Value::as_str);
    let is_folder = matches!(text("layout"), Some("folder" | "hive"));
    // A sink that may not make its folder says itself what is missing.
    let can_be_made = |path: &str| {
        options.get("mkdir").and_then(Value::as_bool).unwrap_or(true) || Path::new(path).is_dir()
    };
    match text("path") {
        Some(path) if is_folder && !path.contains("://") && can_be_made(path) => {
            let folder = PathBuf::from(path);
            let _claim = Claim::new(&folder, owner)?;
            Ok(Arc::new(Claimed { inner: sink, folder, is_open: AtomicBool::new(false), _claim }))
        }
        _ => Ok(sink),
    }
}

impl Sink for Claimed {
    fn takes(&self, kind: FrameKind) -> bool {
        self.inner.takes(kind)
    }

    fn open(&self, place: Option<&Place>) -> Result<()> {
        self.inner.open(place)
    }

    fn recover(&self, records: &[Unconfirmed]) -> Result<()> {
        self.inner.recover(records)
    }

    fn abandoned(&self, epoch: Epoch) {
        self.inner.abandoned(epoch);
    }

    fn waits_for(&self) -> Option<String> {
        self.inner.waits_for()
    }

    fn writer(&self, worker: usize, attempt: u64, pending: Vec<Prepared>) -> Result<Box<dyn SinkWriter>> {
        let writer = self.inner.writer(worker, attempt, pending)?;
        self.is_open.store(true, Ordering::Release);
        Ok(writer)
    }

    fn confirm(&self, epoch: Epoch, prepared: &[Prepared]) -> Result<()> {
        if self.is_open.load(Ordering::Acquire) && !self.folder.is_dir() {
            // Said before a file in it is missed: it may come back, with what was published.
            return Err(EngineError::unavailable(self.folder.display().to_string(), "the folder is gone"));
        }
        self.inner.confirm(epoch, prepared)
    }

    fn clean(&self, prepared: &[Prepared]) -> Result<()> {
        self.inner.clean(prepared)
    }
}

#[derive(Debug)]
struct Claim {
    path: PathBuf,
    /// Holds the lock.
    _file: File,
    lasting: bool,
}

impl Claim {
    fn new(folder: &Path, owner: &Owner) -> Result<Self> {
        let (path, hidden) = (beside(folder, "owner"), beside(folder, "unpublished"));
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(|error| unavailable(parent, error))?;
        }
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(|error| unavailable(&path, error))?;
        let is_free = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(error)) => return Err(unavailable(&path, error)),
        };
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|error| unavailable(&path, error))?;
        let found: Option<Owner> = serde_json::from_str(&text).ok();
        let other = found.filter(|found| found.job != owner.job);
        if let Some(other) = other
            && (!is_free || (other.lasting && (has_entries(folder) || has_entries(&hidden))))
        {
            let rest = if is_free {
                format!("; if that job will not come back, remove '{}'", path.display())
            } else {
                String::new()
            };
            return Err(EngineError::call(
                folder.display().to_string(),
                "a folder that no other job writes to",
                format!("one of {}{rest}", other.job),
            ));
        }
        if is_free {
            write_owner(&mut file, owner).map_err(|error| unavailable(&path, error))?;
            file.unlock().map_err(|error| unavailable(&path, error))?;
        }
        // Shared: the job's next start may overlap with one that has lost its place and does not know yet.
        match file.try_lock_shared() {
            Ok(()) => Ok(Self { path, _file: file, lasting: owner.lasting }),
            Err(TryLockError::WouldBlock) => Err(EngineError::unavailable(
                path.display().to_string(),
                "another job claims the folder at this moment",
            )),
            Err(TryLockError::Error(error)) => Err(unavailable(&path, error)),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.lasting {
            // What stays is found unlocked and taken over.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn write_owner(file: &mut File, owner: &Owner) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&serde_json::to_vec(owner)?)?;
    file.sync_all()
}

/// `.out.owner` for `out/`.
fn beside(folder: &Path, what: &str) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!(".{name}.{what}"))
}

fn has_entries(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

fn unavailable(path: &Path, error: std::io::Error) -> EngineError {
    EngineError::unavailable(path.display().to_string(), error)
}

#[cfg(test)]
mod tests {
    use super::{Claim, Owner};
    use dataflare_engine::EngineError;
    use std::fs;

    fn owner(job: &str, lasting: bool) -> Owner {
        Owner { job: job.to_owned(), lasting }
    }

    #[test]
    fn folder_of_a_running_job_is_refused_to_another_by_name() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("out/");
        let first = Claim::new(&folder, &owner("job 'a'", false)).unwrap();
        let refused = Claim::new(&folder, &owner("job 'b'", true)).unwrap_err();
        assert!(matches!(refused, EngineError::Call { .. }));
        assert!(refused.to_string().contains("job 'a'"));
        drop(first);
        Claim::new(&folder, &owner("job 'b'", true)).unwrap();
    }

    #[test]
    fn next_start_of_a_job_overlaps_with_an_older_one() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("out");
        let zombie = Claim::new(&folder, &owner("job 'a'", true)).unwrap();
        let successor = Claim::new(&folder, &owner("job 'a'", true)).unwrap();
        drop((zombie, successor));
    }

    #[test]
    fn stopped_job_with_a_checkpoint_keeps_its_folder_while_something_is_there() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("out");
        drop(Claim::new(&folder, &owner("job 'a'", true)).unwrap());
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("part"), "rows").unwrap();
        let refused = Claim::new(&folder, &owner("job 'b'", false)).unwrap_err();
        assert!(refused.to_string().contains(".out.owner"));
        fs::remove_file(folder.join("part")).unwrap();
        Claim::new(&folder, &owner("job 'b'", false)).unwrap();
    }
}
