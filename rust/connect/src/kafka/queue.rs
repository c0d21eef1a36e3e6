//! Messages of one partition, taken in batches and read in place: `rd_kafka_consume_batch_queue`.
//!
//! librdkafka fetches into a queue of its own; taking 10 000 messages costs a pointer each, payloads stay in the buffers
//! that the broker's answer was read into until [`Messages`] is dropped. All `unsafe` of the connector is here.
//! librdkafka is thread safe: queues, topics and messages may be used and freed on any thread, as long as their client
//! lives. Everything below therefore keeps an `Arc` of the client.

use super::client::Reports;
use dataflare_engine::source::Waker;
use dataflare_engine::{EngineError, Result};
use rdkafka::bindings as ffi;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use std::ffi::{CStr, CString, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// A client that partitions are read with.
pub(super) type Client = Arc<BaseConsumer<Reports>>;

/// At most so many messages are taken at once.
const TAKEN: usize = 16_384;

/// A partition that is being fetched.
pub(super) struct PartitionQueue {
    client: Client,
    topic: NonNull<ffi::rd_kafka_topic_t>,
    queue: NonNull<ffi::rd_kafka_queue_t>,
    partition: i32,
    /// Boxed twice: librdkafka keeps a thin pointer to the inner box.
    _waker: Box<Waker>,
    scratch: Vec<*mut ffi::rd_kafka_message_t>,
}

// SAFETY: the pointers are owned by this value, and librdkafka allows their use on any thread (see the module).
unsafe impl Send for PartitionQueue {}

/// What has arrived.
pub(super) struct Taken {
    pub(super) messages: Messages,
    /// The log's end was reached: the offset that comes next there.
    pub(super) end: Option<i64>,
    pub(super) error: Option<(RDKafkaErrorCode, String)>,
}

impl PartitionQueue {
    /// Fetches from `offset` (or [`ffi::RD_KAFKA_OFFSET_BEGINNING`]) on. `waker` is called, from a thread of librdkafka
    /// that holds the queue's lock, when the empty queue gets something.
    pub(super) fn start(
        client: Client,
        topic: &str,
        partition: i32,
        offset: i64,
        waker: Waker,
    ) -> Result<Self> {
        let refuse = |found: &str| {
            EngineError::call(format!("kafka {topic}[{partition}]"), "a partition to read", found)
        };
        let name = CString::new(topic).map_err(|_| refuse("a topic with a NUL in its name"))?;
        let waker = Box::new(waker);
        // SAFETY: the client lives; `name` outlives the call; a NULL configuration means the client's own.
        let handle =
            unsafe { ffi::rd_kafka_topic_new(client.client().native_ptr(), name.as_ptr(), ptr::null_mut()) };
        let Some(handle) = NonNull::new(handle) else {
            return Err(refuse("a topic that librdkafka refuses"));
        };
        // SAFETY: the client lives.
        let Some(queue) = NonNull::new(unsafe { ffi::rd_kafka_queue_new(client.client().native_ptr()) })
        else {
            // SAFETY: `handle` came from rd_kafka_topic_new and is not used again.
            unsafe { ffi::rd_kafka_topic_destroy(handle.as_ptr()) };
            return Err(refuse("no queue"));
        };
        let opaque = ptr::from_ref::<Waker>(&waker).cast_mut().cast::<c_void>();
        // SAFETY: `opaque` points into the box that `self` keeps until Drop has disabled the callback.
        unsafe { ffi::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(wake), opaque) };
        let partition_queue =
            Self { client, topic: handle, queue, partition, _waker: waker, scratch: Vec::new() };
        // SAFETY: topic and queue are alive and belong to the same client.
        let started =
            unsafe { ffi::rd_kafka_consume_start_queue(handle.as_ptr(), partition, offset, queue.as_ptr()) };
        if started == 0 { Ok(partition_queue) } else { Err(refuse("one that cannot be read")) }
    }

    /// What is there now, at most `limit` messages. Does not wait.
    pub(super) fn take(&mut self, limit: usize) -> Taken {
        let limit = limit.clamp(1, TAKEN);
        self.scratch.clear();
        self.scratch.reserve(limit);
        // SAFETY: `scratch` has room for `limit` pointers; a time limit of 0 returns at once.
        let count = unsafe {
            ffi::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, self.scratch.as_mut_ptr(), limit)
        };
        // SAFETY: librdkafka wrote `count` pointers (none, for an error) and handed their messages to us.
        unsafe { self.scratch.set_len(usize::try_from(count).unwrap_or(0).min(limit)) };
        let mut taken = Taken {
            messages: Messages {
                pointers: Vec::with_capacity(self.scratch.len()),
                bytes: 0,
                _client: Arc::clone(&self.client),
            },
            end: None,
            error: None,
        };
        for pointer in self.scratch.drain(..) {
            // SAFETY: a message that we own and that nobody else touches.
            let message = unsafe { &*pointer };
            match message.err {
                ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {
                    taken.messages.bytes += message.len + message.key_len;
                    taken.messages.pointers.push(pointer);
                    continue;
                }
                ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
                    taken.end = Some(message.offset)
                }
                // Of several errors the first is the cause.
                code if taken.error.is_none() => taken.error = Some((code.into(), error_text(pointer))),
                _ => {}
            }
            // SAFETY: owned, and not kept.
            unsafe { ffi::rd_kafka_message_destroy(pointer) };
        }
        taken
    }

    /// The end of the partition as the last answer of a broker told it; `None` before the first. Asks nobody.
    pub(super) fn end_known(&self) -> Option<i64> {
        let (mut low, mut high) = (-1, -1);
        // SAFETY: client and topic are alive; the name belongs to the topic; places for the two results.
        let code = unsafe {
            let name = ffi::rd_kafka_topic_name(self.topic.as_ptr());
            let client = self.client.client().native_ptr();
            ffi::rd_kafka_get_watermark_offsets(client, name, self.partition, &mut low, &mut high)
        };
        (code == ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }

    /// Messages that have arrived and were not taken.
    pub(super) fn waiting(&self) -> usize {
        // SAFETY: the queue is alive.
        unsafe { ffi::rd_kafka_queue_length(self.queue.as_ptr()) }
    }
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        // SAFETY: both handles are alive and owned. The callback is disabled under the queue's lock, which a running
        // callback holds, so the waker is not used after this. Fetching is stopped before the queue goes away.
        unsafe {
            ffi::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            ffi::rd_kafka_consume_stop(self.topic.as_ptr(), self.partition);
            ffi::rd_kafka_queue_destroy(self.queue.as_ptr());
            ffi::rd_kafka_topic_destroy(self.topic.as_ptr());
        }
    }
}

/// Called by librdkafka.
unsafe extern "C" fn wake(_client: *mut ffi::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: `opaque` is the waker that `PartitionQueue::start` boxed; see its Drop.
    let waker = unsafe { &*opaque.cast::<Waker>() };
    // A panic must not run through C.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waker()));
}

fn error_text(message: *mut ffi::rd_kafka_message_t) -> String {
    // SAFETY: a live message; the text belongs to it and is copied here.
    unsafe {
        let text = ffi::rd_kafka_message_errstr(message);
        if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
    }
}

/// Messages of one partition in order of their offsets. Their bytes stay where librdkafka read them.
pub(super) struct Messages {
    pointers: Vec<*mut ffi::rd_kafka_message_t>,
    bytes: usize,
    /// Fields are dropped after `Drop::drop`: messages go before their client.
    _client: Client,
}

// SAFETY: the messages are owned, and librdkafka allows reading and freeing them on any thread. Not `Sync`: headers are
// parsed at the first access.
unsafe impl Send for Messages {}

impl Messages {
    /// Bytes of payloads and keys.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        // SAFETY: the pointers are live until `self` is dropped, which the lifetime of `Message` excludes.
        self.pointers.iter().map(|pointer| Message { raw: unsafe { &**pointer } })
    }

    pub(super) fn first(&self) -> Option<Message<'_>> {
        self.iter().next()
    }

    pub(super) fn last(&self) -> Option<Message<'_>> {
        // SAFETY: as in `iter`.
        self.pointers.last().map(|pointer| Message { raw: unsafe { &**pointer } })
    }

    /// Drops the messages from `offset` on. True if there were some.
    pub(super) fn truncate_at(&mut self, offset: i64) -> bool {
        let keep = self.iter().take_while(|message| message.offset() < offset).count();
        let cut = self.pointers.split_off(keep);
        for pointer in &cut {
            // SAFETY: owned, and no longer in `pointers`.
            unsafe { ffi::rd_kafka_message_destroy(*pointer) };
        }
        !cut.is_empty()
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        for pointer in &self.pointers {
            // SAFETY: owned, freed once; the client still lives, see `_client`.
            unsafe { ffi::rd_kafka_message_destroy(*pointer) };
        }
    }
}

/// One message.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    raw: &'a ffi::rd_kafka_message_t,
}

impl<'a> Message<'a> {
    pub(super) fn offset(self) -> i64 {
        self.raw.offset
    }

    /// `None`: a tombstone.
    pub(super) fn payload(self) -> Option<&'a [u8]> {
        // SAFETY: librdkafka's pair of pointer and length, valid as long as the message.
        unsafe { bytes(self.raw.payload, self.raw.len) }
    }

    pub(super) fn key(self) -> Option<&'a [u8]> {
        // SAFETY: as for `payload`.
        unsafe { bytes(self.raw.key, self.raw.key_len) }
    }

    /// Milliseconds since 1970; `None` for topics of old brokers.
    pub(super) fn timestamp_ms(self) -> Option<i64> {
        let mut kind = ffi::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: a live message and a place for the kind.
        let time = unsafe { ffi::rd_kafka_message_timestamp(self.raw, &mut kind) };
        (kind != ffi::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && time >= 0)
            .then_some(time)
    }

    /// Names and values of the headers, in order.
    pub(super) fn headers(self) -> Vec<(&'a [u8], Option<&'a [u8]>)> {
        let mut headers = ptr::null_mut();
        // SAFETY: a live message that only this thread reads; the headers belong to it.
        if unsafe { ffi::rd_kafka_message_headers(self.raw, &mut headers) }
            != ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            return Vec::new();
        }
        let mut found = Vec::new();
        loop {
            let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
            // SAFETY: live headers and places for the results.
            let code = unsafe {
                ffi::rd_kafka_header_get_all(headers, found.len(), &mut name, &mut value, &mut length)
            };
            if code != ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
                return found;
            }
            // SAFETY: a NUL-terminated name, and a pair of pointer and length; both live as long as the message.
            found.push(unsafe { (CStr::from_ptr(name).to_bytes(), bytes(value, length)) });
        }
    }
}

/// # Safety
/// `pointer` is NULL or readable for `length` bytes during `'a`.
unsafe fn bytes<'a>(pointer: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise; NULL is excluded.
    (!pointer.is_null()).then(|| unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), length) })
}
