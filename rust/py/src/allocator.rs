//! Where the extension's memory comes from, and when it goes back.
//!
//! Columns of a batch (512 KB) are larger than what glibc recycles: each would come as fresh pages and go back to the
//! kernel, which took half of the time of a projection. mimalloc keeps them for a moment. Not here: Python's, Polars' and
//! librdkafka's memory, which they manage themselves. Called when the module is made.

use libmimalloc_sys::{mi_option_set, mi_option_t};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Numbers of mimalloc's options (`mimalloc.h`), which its crate does not name.
const ARENA_EAGER_COMMIT: mi_option_t = 4;
const PURGE_DELAY: mi_option_t = 15;

/// How long free memory is kept. mimalloc's own 1,000 ms keep 70 MB more for a job into Parquet; at 10 ms a projection is
/// a few percent slower than at 1,000.
const KEEP_MS: std::ffi::c_long = 10;

/// Sets mimalloc's options for this extension. The user's own (`MIMALLOC_PURGE_DELAY`) do not count.
pub fn configure() {
    // SAFETY: both take any value of these options, at any time and from any thread.
    unsafe {
        // Memory is taken page by page as it is used, not in huge pages.
        mi_option_set(ARENA_EAGER_COMMIT, 0);
        mi_option_set(PURGE_DELAY, KEEP_MS);
    }
}
