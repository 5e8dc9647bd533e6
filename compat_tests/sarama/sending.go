package main

import (
	"time"

	"github.com/IBM/sarama"

	"ottla.compat/driving"
)

var codecs = map[string]sarama.CompressionCodec{
	"":       sarama.CompressionNone,
	"gzip":   sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy,
	"lz4":    sarama.CompressionLZ4,
	"zstd":   sarama.CompressionZSTD,
}

type sender struct{ sarama.SyncProducer }

func (l *library) Sender(o driving.SenderOptions) (driving.Sender, error) {
	config := settings()
	config.Producer.Compression = codecs[o.Compression]
	inner := config.Producer.Partitioner
	if o.Partitioner != "" {
		inner = func(string) sarama.Partitioner { return byCRC32{} }
	}
	config.Producer.Partitioner = func(topic string) sarama.Partitioner { return mayBeNamed{inner(topic)} }
	if o.Idempotent {
		config.Producer.Idempotent = true
		config.Net.MaxOpenRequests = 1 // which it asks for
	}
	config.Producer.Transaction.ID = o.TransactionalID
	producer, err := sarama.NewSyncProducer(l.brokers, config)
	if err != nil {
		return nil, err
	}
	return &sender{producer}, nil
}

// mayBeNamed lets a record name its partition, by its metadata; where it does not, another partitioner decides.
type mayBeNamed struct{ sarama.Partitioner }

func (p mayBeNamed) Partition(message *sarama.ProducerMessage, partitions int32) (int32, error) {
	if named, ok := message.Metadata.(int32); ok {
		return named, nil
	}
	return p.Partitioner.Partition(message, partitions)
}

func (p mayBeNamed) MessageRequiresConsistency(message *sarama.ProducerMessage) bool {
	if _, named := message.Metadata.(int32); named {
		return true
	}
	if dynamic, ok := p.Partitioner.(sarama.DynamicConsistencyPartitioner); ok {
		return dynamic.MessageRequiresConsistency(message)
	}
	return p.RequiresConsistency()
}

type byCRC32 struct{}

func (byCRC32) RequiresConsistency() bool { return true }

func (byCRC32) Partition(message *sarama.ProducerMessage, partitions int32) (int32, error) {
	key, err := message.Key.Encode()
	return driving.CRC32(key, int(partitions)), err
}

func (s *sender) Send(topic string, records []driving.Record) ([]driving.Place, error) {
	messages := []*sarama.ProducerMessage{}
	for _, one := range records {
		message := &sarama.ProducerMessage{Topic: topic}
		if one.Key != nil {
			message.Key = sarama.ByteEncoder(one.Key)
		}
		if one.Value != nil {
			message.Value = sarama.ByteEncoder(one.Value)
		}
		if one.Partition != nil {
			message.Metadata = *one.Partition
		}
		if one.TimestampMs != nil {
			message.Timestamp = time.UnixMilli(*one.TimestampMs)
		}
		for _, header := range one.Headers {
			message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(header.Name), Value: header.Value})
		}
		messages = append(messages, message)
	}
	if err := s.SendMessages(messages); err != nil {
		return nil, err
	}
	places := []driving.Place{}
	for _, one := range messages {
		places = append(places, driving.Place{Partition: one.Partition, Offset: one.Offset})
	}
	return places, nil
}

func (s *sender) Begin() error  { return s.BeginTxn() }
func (s *sender) Commit() error { return s.CommitTxn() }
func (s *sender) Abort() error  { return s.AbortTxn() }

func (s *sender) SendOffsets(group, topic string, offsets map[int32]int64) error {
	given := []*sarama.PartitionOffsetMetadata{}
	for partition, offset := range offsets {
		given = append(given, &sarama.PartitionOffsetMetadata{Partition: partition, Offset: offset, LeaderEpoch: -1})
	}
	return s.AddOffsetsToTxn(map[string][]*sarama.PartitionOffsetMetadata{topic: given}, group)
}
