//! The commands of mode client, and what each of them does.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rskafka::BackoffConfig;
use rskafka::client::controller::ControllerClient;
use rskafka::client::partition::{OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::RecordAndOffset;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::errors::{Answer, Refusal};
use crate::reader::{Offsets, Reader};
use crate::sender::Sender;

const TIMEOUT_MS: i32 = 30_000;

/// Value, key, headers, partition, timestamp; bytes are base64.
#[derive(Deserialize)]
pub struct Outgoing(
    pub Option<String>,
    pub Option<String>,
    pub Vec<(String, String)>,
    pub Option<i32>,
    pub Option<i64>,
);

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Command {
    Version,
    CreateTopic {
        topic: String,
        partitions: i32,
        configs: HashMap<String, String>,
    },
    Topics,
    DeleteTopic {
        topic: String,
    },
    DeleteRecords {
        topic: String,
        before: HashMap<String, i64>,
    },
    Ends {
        topic: String,
        partitions: Vec<i32>,
    },
    Sender {
        compression: Option<String>,
    },
    Send {
        handle: u64,
        topic: String,
        records: Vec<Outgoing>,
    },
    Reader {
        topic: String,
        partitions: Vec<i32>,
    },
    SeekBeginning {
        handle: u64,
    },
    SeekEnd {
        handle: u64,
    },
    Seek {
        handle: u64,
        offsets: HashMap<String, i64>,
    },
    SeekTime {
        handle: u64,
        timestamp_ms: i64,
    },
    Pause {
        handle: u64,
        partitions: Vec<i32>,
    },
    Resume {
        handle: u64,
        partitions: Vec<i32>,
    },
    Take {
        handle: u64,
        count: usize,
    },
    Close {
        handle: u64,
    },
}

pub struct Driver {
    client: Client,
    controller: ControllerClient,
    senders: HashMap<u64, Sender>,
    readers: HashMap<u64, Reader>,
    opened: u64,
}

impl Driver {
    pub async fn connect(bootstrap: &str) -> Result<Self, rskafka::client::error::Error> {
        let patient = BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_millis(500),
            base: 3.,
            deadline: Some(Duration::from_secs(120)), // for as long as a broker may be away
        };
        let client = ClientBuilder::new(vec![bootstrap.to_owned()])
            .client_id("ottla-compat")
            .backoff_config(patient)
            .build()
            .await?;
        Ok(Self {
            controller: client.controller_client()?,
            client,
            senders: HashMap::new(),
            readers: HashMap::new(),
            opened: 0,
        })
    }

    /// The value of `done`.
    pub async fn carry_out(&mut self, command: Command) -> Answer<Value> {
        match command {
            Command::Version => return Ok(json!(version())),
            Command::CreateTopic {
                topic,
                partitions,
                configs,
            } => {
                if !configs.is_empty() {
                    return Err(Refusal::because("rskafka creates topics without configs"));
                }
                self.controller.create_topic(topic, partitions, 1, TIMEOUT_MS).await?;
            }
            Command::Topics => {
                let topics = self.client.list_topics().await?;
                let topics = topics.into_iter().map(|one| (one.name, one.partitions.len()));
                return Ok(json!(topics.collect::<BTreeMap<_, _>>()));
            }
            Command::DeleteTopic { topic } => self.controller.delete_topic(topic, TIMEOUT_MS).await?,
            Command::DeleteRecords { topic, before } => {
                for (partition, offset) in by_partition(before)? {
                    let client = self.partition(&topic, partition).await?;
                    client.delete_records(offset, TIMEOUT_MS).await?;
                }
            }
            Command::Ends { topic, partitions } => {
                let mut ends = Offsets::new();
                for partition in partitions {
                    let client = self.partition(&topic, partition).await?;
                    ends.insert(partition, client.get_offset(OffsetAt::Latest).await?);
                }
                return Ok(json!(ends));
            }
            Command::Sender { compression } => {
                let sender = Sender::new(compression.as_deref())?;
                let handle = self.handle();
                self.senders.insert(handle, sender);
                return Ok(json!(handle));
            }
            Command::Send { handle, topic, records } => {
                let sender = self.senders.get_mut(&handle).ok_or_else(closed)?;
                return Ok(json!(sender.send(&self.client, &topic, records).await?));
            }
            Command::Reader { topic, partitions } => {
                let reader = Reader::open(&self.client, &topic, &partitions).await?;
                let handle = self.handle();
                self.readers.insert(handle, reader);
                return Ok(json!(handle));
            }
            Command::SeekBeginning { handle } => self.reader(handle)?.seek_beginning().await?,
            Command::SeekEnd { handle } => self.reader(handle)?.seek_end().await?,
            Command::Seek { handle, offsets } => self.reader(handle)?.seek(&by_partition(offsets)?)?,
            Command::SeekTime { handle, timestamp_ms } => {
                return Ok(json!(self.reader(handle)?.seek_time(timestamp_ms).await?));
            }
            Command::Pause { handle, partitions } => self.reader(handle)?.pause(partitions),
            Command::Resume { handle, partitions } => self.reader(handle)?.resume(&partitions),
            Command::Take { handle, count } => {
                let taken = self.reader(handle)?.take(count).await?;
                return Ok(taken.into_iter().map(received).collect());
            }
            Command::Close { handle } => {
                self.senders.remove(&handle);
                self.readers.remove(&handle);
            }
        }
        Ok(Value::Null)
    }

    fn handle(&mut self) -> u64 {
        self.opened += 1;
        self.opened
    }

    fn reader(&mut self, handle: u64) -> Answer<&mut Reader> {
        self.readers.get_mut(&handle).ok_or_else(closed)
    }

    async fn partition(&self, topic: &str, partition: i32) -> Answer<PartitionClient> {
        let handling = UnknownTopicHandling::Error;
        Ok(self.client.partition_client(topic, partition, handling).await?)
    }
}

fn closed() -> Refusal {
    Refusal::because("the handle is closed")
}

/// What this was built with, by its lock file: the library does not tell its version.
fn version() -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let mut lines = lock.lines().skip_while(|line| *line != "name = \"rskafka\"").skip(1);
    let version = lines.next().and_then(|line| line.split('"').nth(1));
    version.expect("a lock file that has rskafka")
}

/// Maps of JSON have texts as keys.
fn by_partition(offsets: HashMap<String, i64>) -> Answer<Offsets> {
    let numbered = offsets
        .into_iter()
        .map(|(partition, offset)| Ok((partition.parse()?, offset)));
    let numbered: Result<Offsets, std::num::ParseIntError> = numbered.collect();
    numbered.map_err(Refusal::because)
}

fn received((partition, RecordAndOffset { record, offset }): (i32, RecordAndOffset)) -> Value {
    let headers: Vec<_> = record.headers.iter().map(|(name, value)| (name, text(value))).collect();
    let (key, value) = (record.key.as_deref().map(text), record.value.as_deref().map(text));
    json!([
        partition,
        offset,
        record.timestamp.timestamp_millis(),
        key,
        value,
        headers
    ])
}

pub fn bytes(text: impl AsRef<str>) -> Answer<Vec<u8>> {
    STANDARD.decode(text.as_ref()).map_err(Refusal::because)
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}
