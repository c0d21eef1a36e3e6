//! Create-only objects below one place: a folder now, any object store later.
//!
//! Nothing is ever overwritten: `create` says whether it was first. A created object is durable (file and folder are
//! synced: `LocalFileSystem` does that only when told to).

use crate::error::{EngineError, Result};
use futures::StreamExt;
use futures::executor::block_on;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use std::path::Path as FilePath;
use std::sync::Arc;

/// Where a checkpoint lies.
pub trait Store: Send + Sync {
    /// Creates an object; false: it exists already.
    ///
    /// # Errors
    /// The place is full, gone, or not writable.
    fn create(&self, name: &str, bytes: Vec<u8>) -> Result<bool>;

    /// The whole object.
    ///
    /// # Errors
    /// It does not exist, or cannot be read.
    fn read(&self, name: &str) -> Result<Vec<u8>>;

    /// Names below a prefix, sorted.
    ///
    /// # Errors
    /// The place cannot be read.
    fn list(&self, prefix: &str) -> Result<Vec<String>>;

    /// Removes an object; one that does not exist is no error.
    ///
    /// # Errors
    /// The place cannot be written.
    fn delete(&self, name: &str) -> Result<()>;
}

/// A [`Store`] on an `object_store`.
#[derive(Debug)]
pub struct ObjectStorePlace {
    store: Arc<dyn ObjectStore>,
    /// How messages call it.
    name: String,
}

impl ObjectStorePlace {
    /// A folder, made if missing. Probes that create-only works.
    ///
    /// # Errors
    /// The folder cannot be made or written.
    pub fn folder(path: &FilePath) -> Result<Self> {
        let name = path.display().to_string();
        let unavailable = |error: &dyn std::fmt::Display| {
            EngineError::unavailable(format!("checkpoint folder {name}"), error)
        };
        std::fs::create_dir_all(path).map_err(|error| unavailable(&error))?;
        let store =
            LocalFileSystem::new_with_prefix(path).map_err(|error| unavailable(&error))?.with_fsync(true);
        Ok(Self { store: Arc::new(store), name })
    }

    /// Any store; `name` for messages.
    pub fn new(store: Arc<dyn ObjectStore>, name: impl Into<String>) -> Self {
        Self { store, name: name.into() }
    }

    fn failed(&self, name: &str, error: &object_store::Error) -> EngineError {
        EngineError::unavailable(format!("checkpoint {}/{name}", self.name), error)
    }
}

impl Store for ObjectStorePlace {
    fn create(&self, name: &str, bytes: Vec<u8>) -> Result<bool> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match block_on(self.store.put_opts(&Path::from(name), PutPayload::from(bytes), options)) {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(self.failed(name, &error)),
        }
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let read = async { self.store.get(&Path::from(name)).await?.bytes().await };
        block_on(read).map(|bytes| bytes.to_vec()).map_err(|error| self.failed(name, &error))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let path = Path::from(prefix);
        let mut names = block_on(async {
            let mut names = Vec::new();
            let mut objects = self.store.list(Some(&path));
            while let Some(object) = objects.next().await {
                names.push(object?.location.to_string());
            }
            Ok::<_, object_store::Error>(names)
        })
        .map_err(|error| self.failed(prefix, &error))?;
        names.sort();
        Ok(names)
    }

    fn delete(&self, name: &str) -> Result<()> {
        match block_on(self.store.delete(&Path::from(name))) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(name, &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ObjectStorePlace, Store};

    #[test]
    fn second_create_of_a_name_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = ObjectStorePlace::folder(folder.path()).unwrap();
        assert!(store.create("manifest/1.json", b"first".to_vec()).unwrap());
        assert!(!store.create("manifest/1.json", b"second".to_vec()).unwrap());
        assert_eq!(store.read("manifest/1.json").unwrap(), b"first");
        assert_eq!(store.list("manifest").unwrap(), ["manifest/1.json"]);
    }
}
