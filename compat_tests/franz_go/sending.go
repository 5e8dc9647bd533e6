package main

import (
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla.compat/driving"
)

const largestBatch = 1 << 20 // what a topic takes unless it says otherwise, or a little less

// sender is one producer. kgo.Client has all that it takes, but offsets of a group that it does not consume in.
type sender struct {
	client          *kgo.Client
	transactionalID string
}

func (l *library) Sender(o driving.SenderOptions) (driving.Sender, error) {
	inner := kgo.UniformBytesPartitioner(64<<10, true, true, nil) // the library's own choice
	if o.Partitioner != "" {
		inner = kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
			return func(r *kgo.Record, n int) int { return int(driving.CRC32(r.Key, n)) }
		})
	}
	if o.Compression == "" {
		o.Compression = "none"
	}
	options := append(reaching(l.brokers),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(mayBeNamed{inner}),
		kgo.ProducerBatchCompression(codecs[o.Compression]),
		kgo.ProducerBatchMaxBytes(largestBatch),
		kgo.MetadataMinAge(100*time.Millisecond), // a refused batch waits for metadata, which has this pace: FINDINGS.md
	)
	if !o.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	if o.TransactionalID != "" {
		options = append(options, kgo.TransactionalID(o.TransactionalID))
	}
	if o.RequestTimeout > 0 { // the time that the broker may take, and what the way may take
		options = append(options, kgo.ProduceRequestTimeout(o.RequestTimeout/2), kgo.RequestTimeoutOverhead(o.RequestTimeout/2))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	s := &sender{client, o.TransactionalID}
	if o.TransactionalID != "" {
		if err := s.init(); err != nil {
			client.Close()
			return nil, err
		}
	}
	return s, nil
}

// mayBeNamed lets a record name its partition; where it has none (-1), another partitioner decides.
type mayBeNamed struct{ kgo.Partitioner }

func (p mayBeNamed) ForTopic(topic string) kgo.TopicPartitioner {
	return mayBeNamedOfTopic{p.Partitioner.ForTopic(topic)}
}

type mayBeNamedOfTopic struct{ kgo.TopicPartitioner }

func (p mayBeNamedOfTopic) RequiresConsistency(r *kgo.Record) bool {
	return r.Partition >= 0 || p.TopicPartitioner.RequiresConsistency(r)
}

func (p mayBeNamedOfTopic) PartitionByBackup(r *kgo.Record, n int, backup kgo.TopicBackupIter) int {
	if r.Partition >= 0 {
		return int(r.Partition)
	}
	if one, ok := p.TopicPartitioner.(kgo.TopicBackupPartitioner); ok {
		return one.PartitionByBackup(r, n, backup)
	}
	return p.TopicPartitioner.Partition(r, n)
}

func (s *sender) init() error {
	ctx, cancel := soon()
	defer cancel()
	_, _, err := s.client.ProducerID(ctx)
	return err
}

func (s *sender) Send(topic string, records []driving.Record) ([]driving.Place, error) {
	ctx, cancel := soon()
	defer cancel()
	outgoing := []*kgo.Record{}
	for _, one := range records {
		record := &kgo.Record{Topic: topic, Key: one.Key, Value: one.Value, Partition: -1}
		if one.Partition != nil {
			record.Partition = *one.Partition
		}
		if one.TimestampMs != nil {
			record.Timestamp = time.UnixMilli(*one.TimestampMs)
		}
		for _, header := range one.Headers {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: header.Name, Value: header.Value})
		}
		outgoing = append(outgoing, record)
	}
	if err := s.client.ProduceSync(ctx, outgoing...).FirstErr(); err != nil {
		return nil, err
	}
	places := []driving.Place{}
	for _, one := range outgoing {
		places = append(places, driving.Place{Partition: one.Partition, Offset: one.Offset})
	}
	return places, nil
}

func (s *sender) Begin() error { return s.client.BeginTransaction() }

func (s *sender) Commit() error {
	ctx, cancel := soon()
	defer cancel()
	return s.client.EndTransaction(ctx, kgo.TryCommit)
}

func (s *sender) Abort() error {
	ctx, cancel := soon()
	defer cancel()
	if err := s.client.AbortBufferedRecords(ctx); err != nil {
		return err
	}
	return s.client.EndTransaction(ctx, kgo.TryAbort)
}

// SendOffsets asks by single requests: the library's sessions commit for the group that they consume in alone.
func (s *sender) SendOffsets(group, topic string, offsets map[int32]int64) error {
	ctx, cancel := soon()
	defer cancel()
	id, epoch, err := s.client.ProducerID(ctx)
	if err != nil {
		return err
	}
	add := kmsg.NewAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = s.transactionalID, id, epoch, group
	added, err := add.RequestWith(ctx, s.client)
	if err == nil {
		err = kerr.ErrorForCode(added.ErrorCode)
	}
	if err != nil {
		return err
	}
	commit := kmsg.NewTxnOffsetCommitRequest()
	commit.TransactionalID, commit.ProducerID, commit.ProducerEpoch, commit.Group = s.transactionalID, id, epoch, group
	details, err := kadm.NewClient(s.client).ListTopics(ctx, topic)
	if err != nil {
		return err
	}
	of := kmsg.NewTxnOffsetCommitRequestTopic()
	of.Topic, of.TopicID = topic, details[topic].ID // the version decides which one is sent
	for partition, offset := range offsets {
		one := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		one.Partition, one.Offset = partition, offset
		of.Partitions = append(of.Partitions, one)
	}
	commit.Topics = append(commit.Topics, of)
	committed, err := commit.RequestWith(ctx, s.client)
	if err != nil {
		return err
	}
	for _, one := range committed.Topics[0].Partitions {
		if err := kerr.ErrorForCode(one.ErrorCode); err != nil {
			return err
		}
	}
	return nil
}

func (s *sender) Close() error {
	s.client.Close()
	return nil
}
