//! Names of stateful operators, sinks, sources and watermark nodes in checkpoints (checkpoint design, section 3).
//!
//! A name comes from what the node *is* (its kind, keys, time column, place) and what it reads, not from where it stands
//! in the plan, so unrelated edits of a query keep it. The user's `.stream.name(...)` goes first.

use dataflare_plan::{Node, Operator, Plan};
use std::collections::HashMap;

/// The identity of every node, by node id; rows of equal nodes get `-2`, `-3` in plan order.
pub fn identities(plan: &Plan) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(plan.nodes.len());
    let mut seen: HashMap<String, usize> = HashMap::new();
    for node in &plan.nodes {
        if let (
            Operator::Filter { .. }
            | Operator::Project { .. }
            | Operator::Native { .. }
            | Operator::MapFrame { .. }
            | Operator::Explode { .. }
            | Operator::Metric { .. },
            [input],
        ) = (&node.operator, node.inputs.as_slice())
        {
            // Row-wise operators have no state: what stands above one sees its source through it.
            names.push(names.get(*input).cloned().unwrap_or_default());
            continue;
        }
        let base = node.name.clone().unwrap_or_else(|| derived(node, &names));
        let count = seen.entry(base.clone()).or_insert(0);
        *count += 1;
        names.push(if *count == 1 { base } else { format!("{base}-{count}") });
    }
    names
}

fn derived(node: &Node, names: &[String]) -> String {
    let essence = match &node.operator {
        Operator::Source { connector, options, .. } => format!("{connector} {}", place(options)),
        Operator::Sink { connector, options, .. } => return format!("{connector}-{}", hash(&place(options))),
        Operator::Watermark { column, .. } => column.clone(),
        Operator::Aggregate { keys, window, time_key, .. } => {
            let window = window
                .as_ref()
                .map(|one| format!("{} {} {} {}", one.column, one.every, one.period, one.offset));
            format!("{keys:?} {window:?} {time_key:?}")
        }
        Operator::TopRows { keys, by, rows, .. } => {
            format!("{keys:?} {:?} {rows}", by.iter().map(|key| &key.column).collect::<Vec<_>>())
        }
        Operator::JoinAsof { left_on, right_on, left_by, right_by, strategy, .. } => {
            format!("{strategy:?} {left_on} {right_on} {left_by:?} {right_by:?}")
        }
        Operator::Session { keys, column, gap, .. } => format!("{keys:?} {column} {gap}"),
        Operator::Join { how, left_on, right_on, .. } => format!("{how:?} {left_on:?} {right_on:?}"),
        // Without ties as before they were there: identities outlive releases.
        Operator::Running { keys, ties, .. } if !ties.is_empty() => {
            format!("{keys:?} {:?}", ties.iter().map(|key| &key.column).collect::<Vec<_>>())
        }
        Operator::Running { keys, .. } | Operator::Over { keys, .. } => format!("{keys:?}"),
        Operator::Head { offset, rows } => format!("{offset} {rows}"),
        Operator::Sort { by, by_time: true, .. } => {
            format!("time {:?}", by.iter().map(|key| &key.column).collect::<Vec<_>>())
        }
        Operator::Sort { by, .. } => format!("{:?}", by.iter().map(|key| &key.column).collect::<Vec<_>>()),
        _ => String::new(),
    };
    let inputs: Vec<&str> =
        node.inputs.iter().filter_map(|input| names.get(*input)).map(String::as_str).collect();
    format!("{}-{}", node.operator.kind(), hash(&format!("{essence} {inputs:?}")))
}

/// The option that says where a source or sink is.
fn place(options: &serde_json::Value) -> String {
    ["path", "paths", "topic", "topics", "table", "object"]
        .iter()
        .filter_map(|key| options.get(key).map(|value| format!("{key}={value}")))
        .collect::<Vec<_>>()
        .join(" ")
}

fn hash(text: &str) -> String {
    format!("{:08x}", crc32c::crc32c(text.as_bytes()))
}

/// The fingerprint of a plan.
pub fn fingerprint(json: &str) -> String {
    hash(json)
}
