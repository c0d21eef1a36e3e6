//! Six kinds of error, by what the caller does next; and errors of single rows, which follow `on_error`.

/// The result of everything that can fail here.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// What went wrong. The text says what was expected, what came and where; it holds no debug dump.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Fix the query, setting or plugin; mostly found before the first row moves.
    #[error("{place}: expected {expected}, got {found}")]
    Call { place: String, expected: String, found: String },
    /// Fix the data: a row breaks a rule. `place` names operator, column, split and offset as far as they are known.
    #[error("{place}, row {row}: {reason}")]
    Data { place: String, row: u64, reason: String },
    /// Try again later; the engine has already retried.
    #[error("{resource} is unavailable: {reason}")]
    Unavailable { resource: String, reason: String },
    /// The job or reader was closed.
    #[error("{resource} is closed")]
    Closed { resource: String },
    /// Someone else owns this now: reload, then decide.
    #[error("{resource} is held by attempt {owner}")]
    Conflict { resource: String, owner: u64 },
    /// A bug in the engine: report it.
    #[error("broken rule in {place}: {reason}")]
    Internal { place: String, reason: String },
}

impl EngineError {
    /// A [`EngineError::Call`].
    pub fn call(place: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Call { place: place.into(), expected: expected.into(), found: found.into() }
    }

    /// A [`EngineError::Unavailable`].
    pub fn unavailable(resource: impl Into<String>, reason: impl ToString) -> Self {
        Self::Unavailable { resource: resource.into(), reason: reason.to_string() }
    }

    /// A [`EngineError::Internal`].
    pub fn internal(place: impl Into<String>, reason: impl ToString) -> Self {
        Self::Internal { place: place.into(), reason: reason.to_string() }
    }
}

impl From<arrow::error::ArrowError> for EngineError {
    /// Arrow's kernels are called on arrays of checked types: what they refuse is our bug.
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::internal("an Arrow kernel", error)
    }
}

/// Why one row of a batch cannot be computed. `code` is one word (`cast`, `json`, …), stable over releases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// Index in the batch.
    pub row: usize,
    pub code: &'static str,
    /// The user's expression or column.
    pub place: String,
    pub message: String,
}

/// Row errors of one batch, in the order found. The computed column holds null there.
pub type RowErrors = Vec<RowError>;
