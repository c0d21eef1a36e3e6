//! The rules a plan must keep before anything runs. A broken one is a bug of the planner, not of the user's query:
//! the user's mistakes are refused in Python, in the user's words.

use crate::PLAN_VERSION;
use crate::node::{JoinColumn, Node, Operator, Plan};
use crate::running::RunningFunction;
use crate::schema::Field;

/// Options of sources and sinks whose values may be passwords and tokens; addresses stay readable.
const SECRET_OPTIONS: [&str; 3] = ["config", "registry", "storage_options"];
const NO_SECRET: &str = "url";

fn hide(option: &mut serde_json::Value) {
    let Some(settings) = option.as_object_mut() else { return };
    let secrets = settings.iter_mut().filter(|(name, _)| *name != NO_SECRET);
    secrets.for_each(|(_, value)| *value = "***".into());
}

/// Why a plan cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("this is no plan: {0}")]
    Parse(String),
    #[error("plan version: expected {PLAN_VERSION}, got {0}; it was written by another release")]
    Version(u32),
    #[error("node {node} ({kind}): {reason}")]
    Node { node: usize, kind: &'static str, reason: String },
}

impl Plan {
    /// Reads and validates the JSON form.
    ///
    /// # Errors
    /// [`PlanError`] for text that is no plan, another version, or a graph or column that does not fit.
    pub fn from_json(text: &str) -> Result<Self, PlanError> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|error| PlanError::Parse(error.to_string()))?;
        if let Some(version) = value.get("version").and_then(serde_json::Value::as_u64)
            && version != u64::from(PLAN_VERSION)
        {
            return Err(PlanError::Version(u32::try_from(version).unwrap_or(u32::MAX)));
        }
        let plan: Self =
            serde_json::from_value(value).map_err(|error| PlanError::Parse(error.to_string()))?;
        plan.validate()?;
        Ok(plan)
    }

    /// The JSON form, stable for equal plans.
    pub fn to_json(&self) -> String {
        // Serialisation of plain values cannot fail; an empty text would be refused by `from_json`.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The JSON form for files and fingerprints: values of settings that may be secrets are stars.
    pub fn to_public_json(&self) -> String {
        let mut plan = self.clone();
        for node in &mut plan.nodes {
            if let Operator::Source { options, .. } | Operator::Sink { options, .. } = &mut node.operator {
                for name in SECRET_OPTIONS {
                    if let Some(option) = options.get_mut(name) {
                        hide(option);
                    }
                }
            }
        }
        plan.to_json()
    }

    /// Checks edges, arity, columns and event times of all nodes.
    ///
    /// # Errors
    /// The first [`PlanError::Node`] in node order.
    pub fn validate(&self) -> Result<(), PlanError> {
        for (id, node) in self.nodes.iter().enumerate() {
            self.check(id, node).map_err(|reason| PlanError::Node {
                node: id,
                kind: node.operator.kind(),
                reason,
            })?;
        }
        Ok(())
    }

    fn check(&self, id: usize, node: &Node) -> Result<(), String> {
        if let Some(input) = node.inputs.iter().find(|input| **input >= id) {
            return Err(format!("input {input} does not stand before it"));
        }
        let arity_fits = match node.operator {
            Operator::Source { .. } => node.inputs.is_empty(),
            Operator::Union => !node.inputs.is_empty(),
            Operator::Join { .. } | Operator::JoinAsof { .. } => node.inputs.len() == 2,
            _ => node.inputs.len() == 1,
        };
        if !arity_fits {
            return Err(format!("has {} inputs", node.inputs.len()));
        }
        if let Some(time) = &node.event_time
            && !node.schema.iter().any(|field| &field.name == time && field.dtype.is_event_time())
        {
            return Err(format!("event time '{time}' is no time column of its schema"));
        }
        if let Operator::Join { left_on, right_on, columns, .. } = &node.operator {
            return self.check_join(node, left_on, right_on, columns);
        }
        if let Operator::JoinAsof { left_on, right_on, left_by, right_by, columns, .. } = &node.operator {
            let with = |by: &[String], on: &String| by.iter().chain([on]).cloned().collect::<Vec<_>>();
            return self.check_join(node, &with(left_by, left_on), &with(right_by, right_on), columns);
        }
        if let Operator::Running { keys, functions, ties } = &node.operator {
            let read: Vec<&String> = keys.iter().chain(ties.iter().map(|tie| &tie.column)).collect();
            return self.check_running(node, &read, functions);
        }
        let needs = self.columns_read(node);
        for column in needs {
            for input in &node.inputs {
                if !self.nodes[*input].schema.iter().any(|field| field.name == column) {
                    return Err(format!("reads column '{column}', which its input lacks"));
                }
            }
        }
        Ok(())
    }

    /// Keys of the same number and type; output columns that their input has.
    fn check_join(
        &self,
        node: &Node,
        left_on: &[String],
        right_on: &[String],
        columns: &[JoinColumn],
    ) -> Result<(), String> {
        let dtype = |side: usize, name: &str| {
            let input = node.inputs.get(side).and_then(|input| self.nodes.get(*input));
            let field = input.and_then(|input| input.schema.iter().find(|field| field.name == name));
            let side = if side == 0 { "left" } else { "right" };
            field
                .map(|field| &field.dtype)
                .ok_or(format!("reads column '{name}', which its {side} input lacks"))
        };
        if left_on.len() != right_on.len() || columns.len() != node.schema.len() {
            return Err("keys or columns do not pair up".to_owned());
        }
        for (left, right) in left_on.iter().zip(right_on) {
            let (one, other) = (dtype(0, left)?, dtype(1, right)?);
            if one != other {
                return Err(format!("key '{left}' is {one} and key '{right}' is {other}"));
            }
        }
        for (column, field) in columns.iter().zip(&node.schema) {
            let (given, name) = match column {
                JoinColumn::Left(name) | JoinColumn::Both(name, _) => (dtype(0, name)?, name),
                JoinColumn::Right(name) => (dtype(1, name)?, name),
            };
            if given != &field.dtype {
                return Err(format!(
                    "column '{name}' is {given}, '{}' should be {}",
                    field.name, field.dtype
                ));
            }
        }
        Ok(())
    }

    /// Columns that the input or an earlier function has, and the output as the node says it.
    fn check_running(
        &self,
        node: &Node,
        read: &[&String],
        functions: &[RunningFunction],
    ) -> Result<(), String> {
        let input = node.inputs.first().and_then(|input| self.nodes.get(*input));
        let mut known = input.map(|input| input.schema.clone()).unwrap_or_default();
        for name in read {
            if !known.iter().any(|field| &field.name == *name) {
                return Err(format!("reads column '{name}', which its input lacks"));
            }
        }
        for one in functions {
            for column in one.column.iter().chain(&one.filter).chain(&one.fill) {
                if !known.iter().any(|field| &field.name == column) {
                    return Err(format!("'{}' reads column '{column}', which its input lacks", one.text));
                }
            }
            known.push(Field { name: one.name.clone(), dtype: one.dtype.clone() });
        }
        if known == node.schema { Ok(()) } else { Err("its columns are not those of its schema".to_owned()) }
    }

    /// The input columns that a node names.
    fn columns_read<'a>(&self, node: &'a Node) -> Vec<&'a str> {
        match &node.operator {
            Operator::Watermark { column, .. } => vec![column],
            Operator::Filter { predicate } => predicate.columns(),
            Operator::Project { exprs } => exprs.iter().flat_map(|named| named.expr.columns()).collect(),
            Operator::TopRows { keys, by, time_key, .. } => {
                let by = by.iter().map(|key| &key.column);
                keys.iter().chain(by).chain(time_key.iter()).map(String::as_str).collect()
            }
            Operator::Sort { by, .. } => by.iter().map(|key| key.column.as_str()).collect(),
            Operator::Over { keys, aggregates } => {
                let inputs = aggregates.iter().flat_map(|one| one.column.iter().chain(one.filter.iter()));
                keys.iter().chain(inputs).map(String::as_str).collect()
            }
            Operator::Aggregate { keys, aggregates, window, time_key, .. } => {
                let inputs =
                    aggregates.iter().flat_map(|one| one.column.iter().chain(&one.other).chain(&one.filter));
                let window = window.iter().map(|window| &window.column);
                keys.iter().chain(inputs).chain(window).chain(time_key.iter()).map(String::as_str).collect()
            }
            Operator::Metric { by, aggregate, .. } => {
                let inputs = aggregate.column.iter().chain(aggregate.filter.iter());
                by.iter().chain(inputs).map(String::as_str).collect()
            }
            Operator::Explode { columns, .. } => columns.iter().map(String::as_str).collect(),
            Operator::Session { keys, column, aggregates, .. } => {
                let inputs = aggregates.iter().flat_map(|one| one.column.iter().chain(one.filter.iter()));
                keys.iter().chain([column]).chain(inputs).map(String::as_str).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The nodes that read `id`.
    pub fn readers(&self, id: usize) -> impl Iterator<Item = usize> + '_ {
        self.nodes
            .iter()
            .enumerate()
            .filter(move |(_, node)| node.inputs.contains(&id))
            .map(|(reader, _)| reader)
    }

    /// True if node `id` ends by itself: every source below is bounded, or a head takes the first rows.
    pub fn is_bounded(&self, id: usize) -> bool {
        let node = &self.nodes[id];
        match node.operator {
            Operator::Source { bounded, .. } => bounded,
            Operator::Head { .. } => true,
            _ => node.inputs.iter().all(|input| self.is_bounded(*input)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Plan, PlanError};

    #[test]
    fn plan_of_another_version_is_refused() {
        assert_eq!(Plan::from_json(r#"{"version": 99, "nodes": []}"#), Err(PlanError::Version(99)));
    }

    #[test]
    fn column_that_the_input_lacks_is_named() {
        let text = r#"{"version": 1, "nodes": [
            {"operator": "source", "connector": "batches", "options": {}, "bounded": true, "schema": [{"name": "a", "dtype": "int64"}]},
            {"operator": "filter", "inputs": [0], "predicate": {"kind": "column", "name": "b"}, "schema": [{"name": "a", "dtype": "int64"}]}]}"#;
        let error = Plan::from_json(text).unwrap_err().to_string();
        assert_eq!(error, "node 1 (filter): reads column 'b', which its input lacks");
    }

    #[test]
    fn the_public_form_holds_no_password() {
        let text = r#"{"version": 1, "nodes": [
            {"operator": "source", "connector": "kafka", "bounded": true, "schema": [],
             "options": {"topics": ["bids"], "config": {"sasl.password": "hunter2"},
                         "registry": {"url": "http://127.0.0.1:1", "password": "hunter2"}}}]}"#;
        let public = Plan::from_json(text).unwrap().to_public_json();
        assert!(!public.contains("hunter2") && public.contains("sasl.password"), "{public}");
        assert!(public.contains("bids") && public.contains("http://127.0.0.1:1"), "{public}");
    }

    #[test]
    fn json_goes_there_and_back() {
        let text = r#"{"version": 1, "nodes": [
            {"operator": "source", "connector": "nexmark", "options": {"events": 10}, "bounded": true,
             "schema": [{"name": "ts", "dtype": {"datetime": {"unit": "us", "zone": null}}}]},
            {"operator": "watermark", "inputs": [0], "column": "ts", "delay": 4000000, "event_time": "ts",
             "schema": [{"name": "ts", "dtype": {"datetime": {"unit": "us", "zone": null}}}]}]}"#;
        let plan = Plan::from_json(text).unwrap();
        assert_eq!(Plan::from_json(&plan.to_json()).unwrap(), plan);
    }
}
