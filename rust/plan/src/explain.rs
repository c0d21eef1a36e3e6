//! The text of `dff.explain`: one line a node, sinks first, inputs indented below.

use crate::node::{NodeId, Operator, Plan};
use std::fmt::Write as _;

/// Draws the plan as a tree.
pub fn explain(plan: &Plan) -> String {
    let mut text = String::new();
    let roots = (0..plan.nodes.len()).filter(|id| plan.readers(*id).next().is_none());
    for root in roots {
        draw(plan, root, 0, &mut text);
    }
    text
}

fn draw(plan: &Plan, id: NodeId, depth: usize, text: &mut String) {
    let node = &plan.nodes[id];
    let line = match &node.operator {
        Operator::Filter { predicate } => format!("filter {predicate}"),
        other => other.kind().to_owned(),
    };
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{:indent$}{line}", "", indent = depth * 2);
    for input in &node.inputs {
        draw(plan, *input, depth + 1, text);
    }
}
