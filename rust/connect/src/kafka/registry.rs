//! Schemas by id, from a registry that speaks Confluent's HTTP interface.
//!
//! One thread asks; workers never wait for it. A reader holds its messages back until the schemas that they name are
//! known, and status says what is asked since when. Schemas never change under their id, so each is asked for once.
//! Passwords and tokens are sent, and shown nowhere.

use super::avro;
use super::protobuf;
use crossbeam_channel::{Receiver, Sender, unbounded};
use dataflare_engine::source::Waker;
use dataflare_engine::time::{Clock, Instant, SystemClock};
use dataflare_engine::{EngineError, Result};
use serde::Deserialize;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

/// How long an answer may take, and the pause before the question is asked again.
const ANSWER: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(500);
/// Schemas that refer to others refer to so many at most.
const REFERENCES: usize = 200;

/// Where the registry is. No `Debug`: it holds secrets.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Options {
    url: String,
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
    ca_file: Option<String>,
}

/// What a message was written with.
pub(super) enum Schema {
    Avro(avro::Writer),
    Protobuf(protobuf::Writer),
    /// The registry's word for it.
    Other(String),
}

impl Schema {
    pub(super) fn kind(&self) -> &str {
        match self {
            Self::Avro(_) => "AVRO",
            Self::Protobuf(_) => "PROTOBUF",
            Self::Other(kind) => kind,
        }
    }
}

/// See the module.
pub(super) struct Registry {
    shared: Arc<Shared>,
    /// Closed with the registry: that ends the thread.
    questions: Sender<u32>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Registry({})", self.shared.url)
    }
}

struct Shared {
    url: String,
    outage_limit: Duration,
    clock: SystemClock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// A schema, or why its messages cannot be read.
    schemas: HashMap<u32, std::result::Result<Arc<Schema>, String>>,
    asked: BTreeSet<u32>,
    /// Since when there is no answer, and why.
    outage: Option<(Instant, String)>,
    failed: Option<EngineError>,
    wakers: Vec<Waker>,
}

/// Why there is no schema.
enum Trouble {
    /// It may pass.
    Waits(String),
    /// It is about this schema.
    Unknown(String),
    /// It is about us.
    Wrong(EngineError),
}

impl Registry {
    /// Asks nobody yet.
    ///
    /// # Errors
    /// A bad address, certificates that cannot be read.
    pub(super) fn new(options: &Options, outage_limit: Duration) -> Result<Self> {
        let url = options.url.trim_end_matches('/').to_string();
        let place = "kafka registry";
        let Some((scheme, rest)) = url.split_once("://").filter(|(_, rest)| !rest.is_empty()) else {
            return Err(EngineError::call(
                place,
                "a url that begins with http:// or https://",
                "another one",
            ));
        };
        if !matches!(scheme, "http" | "https") {
            return Err(EngineError::call(place, "a url that begins with http:// or https://", scheme));
        }
        if rest.split('/').next().is_some_and(|host| host.contains('@')) {
            return Err(EngineError::call(
                place,
                "user and password as options of their own",
                "a url with them",
            ));
        }
        let (questions, asked) = unbounded();
        let shared = Arc::new(Shared {
            url: url.clone(),
            outage_limit,
            clock: SystemClock::default(),
            state: Mutex::default(),
        });
        let asking = Asking {
            agent: agent(options)?,
            authorization: authorization(options),
            shared: Arc::clone(&shared),
        };
        std::thread::Builder::new()
            .name("kafka-registry".to_string())
            .spawn(move || asking.run(&asked))
            .map_err(|error| EngineError::unavailable("a thread for the schema registry", error))?;
        Ok(Self { shared, questions })
    }

    /// True if there is an answer for `id`; else it is asked for, and `waker` is called when it has come.
    ///
    /// # Errors
    /// The registry was given up, or refuses us.
    pub(super) fn is_known(&self, id: u32, waker: &Waker) -> Result<bool> {
        let mut state = self.shared.state();
        if state.schemas.contains_key(&id) {
            return Ok(true);
        }
        if let Some(failed) = &state.failed {
            return Err(failed.clone());
        }
        if !state.wakers.iter().any(|known| Arc::ptr_eq(known, waker)) {
            state.wakers.push(Arc::clone(waker));
        }
        if state.asked.insert(id) && self.questions.send(id).is_err() {
            return Err(EngineError::internal("the schema registry", "its thread has ended"));
        }
        Ok(false)
    }

    /// The schema of an id that [`Registry::is_known`]; an error says why its messages cannot be read.
    pub(super) fn schema(&self, id: u32) -> std::result::Result<Arc<Schema>, String> {
        match self.shared.state().schemas.get(&id) {
            Some(answer) => answer.clone(),
            None => Err(format!("schema {id} was not asked for")),
        }
    }

    /// What is waited for, since when.
    pub(super) fn waits_for(&self) -> Option<String> {
        let state = self.shared.state();
        let id = *state.asked.first()?;
        let place = format!("schema {id} of the schema registry {}", self.shared.url);
        Some(match &state.outage {
            None => format!("{place} is asked for"),
            Some((since, reason)) => {
                let seconds = self.shared.clock.now().since(*since).as_secs();
                format!("{place} does not come since {seconds} s: {reason}")
            }
        })
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        let wakers = std::mem::take(&mut self.state().wakers);
        wakers.iter().for_each(|waker| waker());
    }

    fn answer(&self, id: u32, answer: std::result::Result<Arc<Schema>, String>) {
        let mut state = self.state();
        state.outage = None;
        state.asked.remove(&id);
        state.schemas.insert(id, answer);
        drop(state);
        self.wake();
    }

    fn give_up(&self, error: EngineError) {
        self.state().failed.get_or_insert(error);
        self.wake();
    }

    /// True if there is still hope.
    fn waits(&self, reason: &str) -> bool {
        let now = self.clock.now();
        let mut state = self.state();
        let (since, text) = state.outage.get_or_insert((now, String::new()));
        text.clear();
        text.push_str(reason);
        now.since(*since) < self.outage_limit
    }
}

/// What the thread has.
struct Asking {
    agent: ureq::Agent,
    authorization: Option<String>,
    shared: Arc<Shared>,
}

/// An answer to `/schemas/ids/{id}` or `/subjects/{subject}/versions/{version}`.
#[derive(Deserialize)]
struct Answer {
    schema: String,
    #[serde(rename = "schemaType", default = "avro_kind")]
    kind: String,
    #[serde(default)]
    references: Vec<Reference>,
}

fn avro_kind() -> String {
    "AVRO".to_string()
}

#[derive(Deserialize)]
struct Reference {
    name: String,
    subject: String,
    version: i64,
}

impl Asking {
    fn run(&self, questions: &Receiver<u32>) {
        while let Ok(id) = questions.recv() {
            loop {
                match self.schema(id) {
                    Ok(schema) => self.shared.answer(id, Ok(Arc::new(schema))),
                    Err(Trouble::Unknown(reason)) => self.shared.answer(id, Err(reason)),
                    Err(Trouble::Wrong(error)) => return self.shared.give_up(error),
                    Err(Trouble::Waits(reason)) => {
                        if !self.shared.waits(&reason) {
                            let seconds = self.shared.outage_limit.as_secs();
                            let reason = format!("no answer in {seconds} s (outage_limit): {reason}");
                            let place = format!("schema registry {}", self.shared.url);
                            return self.shared.give_up(EngineError::unavailable(place, reason));
                        }
                        // The source may be gone meanwhile; only then nobody else holds the state.
                        if Arc::strong_count(&self.shared) == 1 {
                            return;
                        }
                        std::thread::sleep(PAUSE);
                        continue;
                    }
                }
                break;
            }
        }
    }

    fn schema(&self, id: u32) -> std::result::Result<Schema, Trouble> {
        let answer = self.get(&format!("schemas/ids/{id}"))?;
        let mut referred = Vec::new();
        self.references(&answer.references, &mut referred, &mut BTreeSet::new())?;
        let unreadable = |reason: String| {
            Trouble::Unknown(format!("schema {id} of the registry cannot be read: {reason}"))
        };
        Ok(match answer.kind.as_str() {
            "AVRO" => {
                let referred: Vec<&str> = referred.iter().map(|(_, text)| text.as_str()).collect();
                Schema::Avro(avro::Writer::new(&answer.schema, &referred).map_err(unreadable)?)
            }
            "PROTOBUF" => {
                Schema::Protobuf(protobuf::Writer::new(&answer.schema, &referred).map_err(unreadable)?)
            }
            _ => Schema::Other(answer.kind),
        })
    }

    /// Names and texts of what a schema refers to, those that are referred to first.
    fn references(
        &self,
        references: &[Reference],
        found: &mut Vec<(String, String)>,
        seen: &mut BTreeSet<String>,
    ) -> std::result::Result<(), Trouble> {
        for reference in references {
            if !seen.insert(reference.name.clone()) {
                continue;
            }
            if seen.len() > REFERENCES {
                return Err(Trouble::Unknown(format!("a schema refers to more than {REFERENCES} others")));
            }
            let subject = escaped(&reference.subject);
            let answer = self.get(&format!("subjects/{subject}/versions/{}", reference.version))?;
            self.references(&answer.references, found, seen)?;
            found.push((reference.name.clone(), answer.schema));
        }
        Ok(())
    }

    fn get(&self, path: &str) -> std::result::Result<Answer, Trouble> {
        let url = format!("{}/{path}", self.shared.url);
        let mut request = self.agent.get(&url).header("Accept", "application/vnd.schemaregistry.v1+json");
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        let mut response = request.call().map_err(|error| Trouble::Waits(error.to_string()))?;
        let place = || format!("schema registry {}", self.shared.url);
        match response.status().as_u16() {
            200 => {}
            401 | 403 => {
                let found = format!("status {}", response.status().as_u16());
                return Err(Trouble::Wrong(EngineError::call(place(), "credentials that it accepts", found)));
            }
            404 => return Err(Trouble::Unknown(format!("the registry {} has no {path}", self.shared.url))),
            status => return Err(Trouble::Waits(format!("status {status}"))),
        }
        let text = response.body_mut().read_to_string().map_err(|error| Trouble::Waits(error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| {
            Trouble::Wrong(EngineError::call(place(), "answers of a schema registry", error.to_string()))
        })
    }
}

fn agent(options: &Options) -> Result<ureq::Agent> {
    let roots = match &options.ca_file {
        None => RootCerts::PlatformVerifier,
        Some(path) => {
            let place = format!("kafka registry ca_file {path}");
            let pem = std::fs::read(path)
                .map_err(|error| EngineError::call(&place, "a file", error.to_string()))?;
            let certificates: Vec<_> = parse_pem(&pem)
                .filter_map(|item| match item {
                    Ok(PemItem::Certificate(certificate)) => Some(certificate),
                    _ => None,
                })
                .collect();
            if certificates.is_empty() {
                return Err(EngineError::call(place, "certificates in PEM", "none"));
            }
            RootCerts::new_with_certs(&certificates)
        }
    };
    let tls = TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(roots).build();
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(ANSWER))
        .tls_config(tls)
        .user_agent("dataflare_fast")
        .build();
    Ok(config.into())
}

fn authorization(options: &Options) -> Option<String> {
    if let Some(token) = &options.token {
        return Some(format!("Bearer {token}"));
    }
    let user = options.user.as_ref()?;
    let pair = format!("{user}:{}", options.password.as_deref().unwrap_or_default());
    Some(format!("Basic {}", base64(pair.as_bytes())))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_usize, |bits, byte| (bits << 8) | usize::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS.get((bits >> (18 - 6 * place)) & 63).filter(|_| place <= chunk.len());
            text.push(digit.map_or('=', |digit| char::from(*digit)));
        }
    }
    text
}

/// Percent escapes for a part of a path.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Options, Registry, base64, escaped};
    use std::time::Duration;

    #[test]
    fn credentials_in_the_url_are_refused_and_not_shown() {
        let options = Options { url: "http://me:hunter2@127.0.0.1:1".to_string(), ..Options::default() };
        let error = Registry::new(&options, Duration::ZERO).unwrap_err().to_string();
        assert!(error.contains("user and password") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn bytes_are_base64_with_padding() {
        let found: Vec<String> =
            ["", "f", "fo", "foo", "foob"].iter().map(|text| base64(text.as_bytes())).collect();
        assert_eq!(found, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
        assert_eq!(escaped("a/b c"), "a%2Fb%20c");
    }
}
