//! A broker of the test's own, to be killed or to ask for passwords. `DATAFLARE_SERVICES` is the folder of its script.

use crate::broker::{LIMIT, Reading, field, kafka, producer, send, topic};
use dataflare_engine::EngineError;
use dataflare_plan::DataType;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub struct Service {
    script: PathBuf,
    folder: tempfile::TempDir,
    secure: bool,
}

impl Service {
    /// `None` after saying why the test does nothing.
    pub fn new(secure: bool) -> Option<Self> {
        let Some(services) = std::env::var_os("DATAFLARE_SERVICES") else {
            println!("skipped: DATAFLARE_SERVICES is not set");
            return None;
        };
        Some(Self {
            script: PathBuf::from(services).join("kafka.sh"),
            folder: tempfile::tempdir().unwrap(),
            secure,
        })
    }

    /// Runs a word of the script; what it prints, as names and values.
    pub fn run(&self, word: &str) -> BTreeMap<String, String> {
        let mut command = Command::new(&self.script);
        command.arg(word).arg(self.folder.path()).stderr(Stdio::inherit());
        if self.secure {
            command.env("KAFKA_SECURE", "1");
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "kafka.sh {word} failed");
        let text = String::from_utf8(output.stdout).unwrap();
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs.map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.run("stop");
    }
}

#[test]
#[ignore = "slow: starts a broker twice"]
fn reading_goes_on_after_the_broker_was_killed() {
    let Some(service) = Service::new(false) else { return };
    let broker = service.run("start")["KAFKA_BOOTSTRAP_SERVERS"].clone();
    let name = topic(&broker, "killed", 1);
    send(&producer(&broker, &[]), &name, 0, ["{\"n\": 1}"]);
    let source = kafka(&broker, &[&name], &json!({}), &[field("n", DataType::Int64)]);
    source.splits().unwrap();
    let mut reading = Reading::open(&*source, &format!("{name}-0"), None);
    reading.read(|rows| rows.count() == 1).unwrap();
    service.run("kill");
    let since = Instant::now();
    while source.waits_for().is_none() {
        assert!(since.elapsed() < LIMIT, "the outage is never noticed");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    service.run("start");
    send(&producer(&broker, &[]), &name, 0, ["{\"n\": 2}"]);
    let rows = reading.read(|rows| rows.count() == 1).unwrap();
    assert_eq!(rows.positions, [1]);
    // A job that starts while leaders are still being chosen waits for them.
    let bounded = kafka(&broker, &[&name], &json!({"end": "latest"}), &[field("n", DataType::Int64)]);
    bounded.splits().unwrap();
    assert_eq!(Reading::open(&*bounded, &format!("{name}-0"), None).read_to_end().unwrap().count(), 2);
}

#[test]
#[ignore = "slow: starts a broker"]
fn passwords_are_used_and_never_shown() {
    let Some(service) = Service::new(true) else { return };
    let environment = service.run("start");
    let name = topic(&environment["KAFKA_BOOTSTRAP_SERVERS"], "secure", 1);
    send(&producer(&environment["KAFKA_BOOTSTRAP_SERVERS"], &[]), &name, 0, ["{\"n\": 1}"]);
    let config = |password: &str| -> Value {
        json!({"end": "latest", "config": {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-256",
            "sasl.username": environment["KAFKA_SASL_USER"],
            "sasl.password": password,
            "ssl.ca.location": environment["KAFKA_CA"],
        }})
    };
    let fields = [field("n", DataType::Int64)];
    let broker = &environment["KAFKA_SASL_SSL_SERVERS"];
    let source = kafka(broker, &[&name], &config(&environment["KAFKA_SASL_PASSWORD"]), &fields);
    source.splits().unwrap();
    assert_eq!(Reading::open(&*source, &format!("{name}-0"), None).read_to_end().unwrap().count(), 1);
    let error = kafka(broker, &[&name], &config("not-the-password"), &fields).splits().unwrap_err();
    assert!(matches!(error, EngineError::Call { .. }), "{error}");
    assert!(
        error.to_string().contains("credentials") && !error.to_string().contains("not-the-password"),
        "{error}"
    );
}
