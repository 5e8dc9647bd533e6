//! A reader on named partitions: rskafka has a stream for each. Who wants no more of one for a while does not poll it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::select_all;
use rskafka::client::Client;
use rskafka::client::consumer::{StartOffset, StreamConsumer, StreamConsumerBuilder};
use rskafka::client::partition::{OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::record::RecordAndOffset;
use tokio::time::{Instant, timeout_at};

use crate::errors::{Answer, Refusal};
use crate::sender::time;

const DEADLINE: Duration = Duration::from_secs(120);

pub type Offsets = BTreeMap<i32, i64>;

pub struct Reader {
    partitions: BTreeMap<i32, Arc<PartitionClient>>,
    streams: BTreeMap<i32, StreamConsumer>,
    paused: BTreeSet<i32>,
}

impl Reader {
    pub async fn open(client: &Client, topic: &str, partitions: &[i32]) -> Answer<Self> {
        let mut clients = BTreeMap::new();
        for &partition in partitions {
            let one = client
                .partition_client(topic, partition, UnknownTopicHandling::Retry)
                .await?;
            clients.insert(partition, Arc::new(one));
        }
        Ok(Self {
            partitions: clients,
            streams: BTreeMap::new(),
            paused: BTreeSet::new(),
        })
    }

    /// The offset of each partition at that place; -1 where no record is at or after the time.
    async fn offsets(&self, at: OffsetAt) -> Answer<Offsets> {
        let mut offsets = Offsets::new();
        for (&partition, client) in &self.partitions {
            offsets.insert(partition, client.get_offset(at).await?);
        }
        Ok(offsets)
    }

    pub async fn seek_beginning(&mut self) -> Answer<()> {
        let offsets = self.offsets(OffsetAt::Earliest).await?;
        self.seek(&offsets)
    }

    pub async fn seek_end(&mut self) -> Answer<()> {
        let offsets = self.offsets(OffsetAt::Latest).await?;
        self.seek(&offsets)
    }

    /// A stream goes one way only: a seek makes another one.
    pub fn seek(&mut self, offsets: &Offsets) -> Answer<()> {
        for (partition, &offset) in offsets {
            let client = self
                .partitions
                .get(partition)
                .ok_or_else(|| Refusal::because(format!("partition {partition} is not read")))?;
            let stream = StreamConsumerBuilder::new(Arc::clone(client), StartOffset::At(offset)).build();
            self.streams.insert(*partition, stream);
        }
        Ok(())
    }

    pub async fn seek_time(&mut self, timestamp_ms: i64) -> Answer<BTreeMap<i32, Option<i64>>> {
        let found = self.offsets(OffsetAt::Timestamp(time(timestamp_ms)?)).await?;
        let mut places = self.offsets(OffsetAt::Latest).await?;
        let found = found
            .into_iter()
            .map(|(p, offset)| (p, (offset >= 0).then_some(offset)));
        let found: BTreeMap<i32, Option<i64>> = found.collect();
        places.extend(found.iter().filter_map(|(&p, offset)| Some((p, (*offset)?))));
        self.seek(&places)?;
        Ok(found)
    }

    pub fn pause(&mut self, partitions: Vec<i32>) {
        self.paused.extend(partitions);
    }

    pub fn resume(&mut self, partitions: &[i32]) {
        self.paused.retain(|one| !partitions.contains(one));
    }

    pub async fn take(&mut self, count: usize) -> Answer<Vec<(i32, RecordAndOffset)>> {
        let deadline = Instant::now() + DEADLINE;
        let mut taken = Vec::new();
        while taken.len() < count {
            let read = self.streams.iter_mut().filter(|(p, _)| !self.paused.contains(p));
            let next: Vec<_> = read
                .map(|(&partition, stream)| Box::pin(async move { (partition, stream.next().await) }))
                .collect();
            if next.is_empty() {
                return Err(Refusal::because("the reader stands nowhere"));
            }
            let Ok(((partition, record), ..)) = timeout_at(deadline, select_all(next)).await else {
                break;
            };
            let (record, _) = record.ok_or_else(|| Refusal::because("the stream has ended"))??;
            taken.push((partition, record));
        }
        Ok(taken)
    }
}
