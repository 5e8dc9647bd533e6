//! A producer. rskafka produces to one partition at a time and leaves it to the application to choose which.

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::try_join_all;
use rskafka::chrono::{DateTime, Utc};
use rskafka::client::Client;
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::record::Record;

use crate::commands::{Outgoing, bytes};
use crate::errors::{Answer, Refusal};

const REQUEST_BYTES: usize = 500_000; // of several records: brokers take batches of a megabyte
const RECORD_BYTES: usize = 20; // of framing, at most about

pub struct Sender {
    compression: Compression,
    topics: HashMap<String, BTreeMap<i32, PartitionClient>>,
    turn: usize,
}

/// The places of some records of one partition: where they stood among all, and the offsets they got.
type Places = Vec<(usize, i64)>;

impl Sender {
    pub fn new(codec: Option<&str>) -> Answer<Self> {
        let compression = match codec {
            None => Compression::NoCompression,
            Some("gzip") => Compression::Gzip,
            Some("snappy") => Compression::Snappy,
            Some("lz4") => Compression::Lz4,
            Some("zstd") => Compression::Zstd,
            Some(other) => return Err(Refusal::because(format!("no codec {other}"))),
        };
        Ok(Self {
            compression,
            topics: HashMap::new(),
            turn: 0,
        })
    }

    /// Sends all, each partition beside the others, and gives partition and offset of each record in the order given.
    pub async fn send(&mut self, client: &Client, topic: &str, records: Vec<Outgoing>) -> Answer<Vec<(i32, i64)>> {
        self.know(client, topic).await?;
        let partitions = &self.topics[topic];
        let mut shares: BTreeMap<i32, Vec<(usize, Record)>> = BTreeMap::new();
        for (index, outgoing) in records.into_iter().enumerate() {
            let partition = match (outgoing.3, &outgoing.1) {
                (Some(named), _) => named,
                (None, Some(key)) => of_key(key, partitions.len()),
                (None, None) => {
                    self.turn += 1;
                    (self.turn % partitions.len()) as i32
                }
            };
            shares.entry(partition).or_default().push((index, record(outgoing)?));
        }
        let compression = self.compression;
        let sending = shares.into_iter().map(async |(partition, share)| {
            let to = partitions
                .get(&partition)
                .ok_or_else(|| Refusal::because(format!("{topic} has no partition {partition}")))?;
            Ok::<_, Refusal>((partition, produce(to, share, compression).await?))
        });
        let mut sent: BTreeMap<usize, (i32, i64)> = BTreeMap::new();
        for (partition, places) in try_join_all(sending).await? {
            sent.extend(places.into_iter().map(|(index, offset)| (index, (partition, offset))));
        }
        Ok(sent.into_values().collect())
    }

    async fn know(&mut self, client: &Client, topic: &str) -> Answer<()> {
        if let Entry::Vacant(unknown) = self.topics.entry(topic.to_owned()) {
            let topics = client.list_topics().await?;
            let found = topics
                .into_iter()
                .find(|one| one.name == topic)
                .ok_or_else(|| Refusal::because("UNKNOWN_TOPIC_OR_PARTITION"))?;
            let mut partitions = BTreeMap::new();
            for partition in found.partitions {
                let one = client
                    .partition_client(topic, partition, UnknownTopicHandling::Retry)
                    .await?;
                partitions.insert(partition, one);
            }
            unknown.insert(partitions);
        }
        Ok(())
    }
}

/// One request after the other: nothing of a partition overtakes what came before.
async fn produce(to: &PartitionClient, share: Vec<(usize, Record)>, compression: Compression) -> Answer<Places> {
    let mut places = Places::new();
    let mut left = share.into_iter().peekable();
    while left.peek().is_some() {
        let (mut indexes, mut batch, mut size) = (Vec::new(), Vec::new(), 0);
        while let Some((index, record)) = left.next_if(|(_, one)| size == 0 || size + size_of(one) <= REQUEST_BYTES) {
            size += size_of(&record);
            indexes.push(index);
            batch.push(record);
        }
        let offsets = to.produce(batch, compression).await?;
        places.extend(indexes.into_iter().zip(offsets));
    }
    Ok(places)
}

fn size_of(record: &Record) -> usize {
    record.approximate_size() + RECORD_BYTES
}

/// Any hash that is the same for the same key will do.
fn of_key(key: &str, partitions: usize) -> i32 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    (hasher.finish() % partitions as u64) as i32
}

fn record(Outgoing(value, key, headers, _, timestamp_ms): Outgoing) -> Answer<Record> {
    let timestamp = match timestamp_ms {
        Some(given) => time(given)?,
        None => time(now_ms())?,
    };
    let mut named = BTreeMap::new();
    for (name, value) in headers {
        named.insert(name, bytes(&value)?);
    }
    Ok(Record {
        key: key.as_deref().map(bytes).transpose()?,
        value: value.as_deref().map(bytes).transpose()?,
        headers: named,
        timestamp,
    })
}

fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970");
    since.as_millis() as i64
}

pub fn time(timestamp_ms: i64) -> Answer<DateTime<Utc>> {
    DateTime::from_timestamp_millis(timestamp_ms).ok_or_else(|| Refusal::because(format!("no time {timestamp_ms}")))
}
