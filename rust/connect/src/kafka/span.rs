//! Where a job without a checkpoint begins in each partition, and where a bounded one ends: settled once, at its start.

use super::cluster::{Cluster, Partition};
use dataflare_engine::{EngineError, Result};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Offsets by topic and partition, as the user gives them.
type Offsets = BTreeMap<String, BTreeMap<i32, i64>>;

/// Where to begin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Start {
    #[default]
    Earliest,
    Latest,
    /// The first message that is not older.
    TimestampMs(i64),
    /// Partitions that are not named begin at their beginning.
    Offsets(Offsets),
}

/// Where to end.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    Latest,
    /// Before the first message that is not older.
    TimestampMs(i64),
    /// Partitions that are not named end at their end.
    Offsets(Offsets),
}

/// Part of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: i64,
    /// The first offset behind it.
    pub(super) end: i64,
}

impl Span {
    /// Asks the brokers.
    ///
    /// # Errors
    /// They do not answer; an offset that a partition does not have, or the offset of a partition that there is not.
    pub(super) fn of(
        cluster: &Cluster,
        partitions: &[Partition],
        start: &Start,
        end: Option<&End>,
    ) -> Result<BTreeMap<Partition, Self>> {
        let mut spans = BTreeMap::new();
        for partition in partitions {
            let (low, high) = cluster.ends(&partition.0, partition.1)?;
            spans.insert(partition.clone(), (low, high, Self { start: low, end: high }));
        }
        match start {
            Start::Earliest => {}
            Start::Latest => spans.values_mut().for_each(|(_, high, span)| span.start = *high),
            Start::TimestampMs(at) => {
                for (partition, found) in cluster.at_time(partitions, *at)? {
                    if let Some((_, high, span)) = spans.get_mut(&partition) {
                        span.start = found.unwrap_or(*high);
                    }
                }
            }
            Start::Offsets(offsets) => given(&mut spans, offsets, "start", |span| &mut span.start)?,
        }
        match end {
            None | Some(End::Latest) => {}
            Some(End::TimestampMs(at)) => {
                for (partition, found) in cluster.at_time(partitions, *at)? {
                    if let Some((_, high, span)) = spans.get_mut(&partition) {
                        span.end = found.unwrap_or(*high);
                    }
                }
            }
            Some(End::Offsets(offsets)) => given(&mut spans, offsets, "end", |span| &mut span.end)?,
        }
        Ok(spans.into_iter().map(|(partition, (_, _, span))| (partition, span)).collect())
    }
}

fn given(
    spans: &mut BTreeMap<Partition, (i64, i64, Span)>,
    offsets: &Offsets,
    option: &str,
    place: fn(&mut Span) -> &mut i64,
) -> Result<()> {
    for (topic, partitions) in offsets {
        for (partition, offset) in partitions {
            let at = format!("kafka {option} {topic}[{partition}]");
            let Some((low, high, span)) = spans.get_mut(&(topic.clone(), *partition)) else {
                return Err(EngineError::call(at, "a partition of the topics that are read", "another one"));
            };
            if !(*low..=*high).contains(offset) {
                return Err(EngineError::call(
                    at,
                    format!("an offset from {low} to {high}"),
                    offset.to_string(),
                ));
            }
            *place(span) = *offset;
        }
    }
    Ok(())
}
