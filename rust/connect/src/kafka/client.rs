//! Settings of a librdkafka client, and its reports. Values of settings never reach a message: they may be secrets.

use dataflare_engine::{EngineError, Result};
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, PoisonError};

/// librdkafka's settings for `brokers`: ours first, then those of the user.
///
/// `owned` lists settings that this connector decides on, with the option to use instead.
///
/// # Errors
/// [`EngineError::Call`]: an owned setting, or a value that is no text, number or boolean.
pub(super) fn settings(
    brokers: &str,
    ours: &[(&str, &str)],
    user: &Map<String, Value>,
    owned: &[(&str, &str)],
) -> Result<ClientConfig> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set_log_level(RDKafkaLogLevel::Warning);
    for (name, value) in ours {
        config.set(*name, *value);
    }
    for (name, value) in user {
        if let Some((_, instead)) = owned.iter().find(|(setting, _)| setting == name) {
            return Err(EngineError::call("kafka config", *instead, format!("the setting {name}")));
        }
        match value {
            Value::String(text) => config.set(name, text),
            Value::Bool(_) | Value::Number(_) => config.set(name, value.to_string()),
            _ => {
                return Err(EngineError::call(
                    format!("kafka config {name}"),
                    "a text, number or boolean",
                    "another value",
                ));
            }
        };
    }
    Ok(config)
}

/// What librdkafka said of a setting or of a client that it does not make; without the value.
pub(super) fn refused(error: &KafkaError) -> EngineError {
    match error {
        KafkaError::ClientConfig(_, _, name, _) => EngineError::call(
            "kafka config",
            "settings and values that librdkafka knows",
            format!("the setting {name}"),
        ),
        other => EngineError::call("kafka config", "settings that go together", text_of(other)),
    }
}

/// An error in librdkafka's words, without the crate's wrapping.
pub(super) fn text_of(error: &KafkaError) -> String {
    match error.rdkafka_error_code() {
        Some(code) => code.to_string(),
        None => error.to_string(),
    }
}

/// Keeps the last thing that librdkafka complained of. It is shown while brokers do not answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Reports {
    last: Arc<Mutex<Option<Report>>>,
}

/// One complaint.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) code: Option<RDKafkaErrorCode>,
    pub(super) text: String,
}

impl Reports {
    pub(super) fn last(&self) -> Option<Report> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn clear(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn keep(&self, report: Report) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // "All brokers are down" follows the reason and says less.
        let says_less = report.code == Some(RDKafkaErrorCode::AllBrokersDown);
        if !(says_less && last.is_some()) {
            *last = Some(report);
        }
    }
}

impl ClientContext for Reports {
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.keep(Report { code: error.rdkafka_error_code(), text: reason.to_string() });
    }
}

impl ConsumerContext for Reports {}

#[cfg(test)]
mod tests {
    use super::{refused, settings};
    use serde_json::json;

    #[test]
    fn values_of_settings_are_never_shown() {
        let user = json!({"sasl.mechanism": "PLAIN", "sasl.pasword": "hunter2"});
        let config = settings("127.0.0.1:1", &[], user.as_object().unwrap(), &[]).unwrap();
        let error = refused(&config.create_native_config().err().unwrap()).to_string();
        assert!(error.contains("sasl.pasword") && !error.contains("hunter2"), "{error}");
        let nested = json!({"sasl.password": ["hunter2"]});
        let error = settings("127.0.0.1:1", &[], nested.as_object().unwrap(), &[]).unwrap_err().to_string();
        assert!(error.contains("sasl.password") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_setting_that_the_connector_owns_is_refused_with_the_option_to_use() {
        let user = json!({"auto.offset.reset": "latest"});
        let owned = [("auto.offset.reset", "the option start")];
        let error = settings("127.0.0.1:1", &[], user.as_object().unwrap(), &owned).unwrap_err().to_string();
        assert!(error.contains("the option start") && error.contains("auto.offset.reset"), "{error}");
    }
}
