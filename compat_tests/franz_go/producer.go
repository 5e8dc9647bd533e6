package main

import (
	"context"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"ottla.compat/driving"
)

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

// producer sends --count records, value = their number, to --partitions in turn; tells where each one went.
func producer(f flags, told *events) error {
	client, err := kgo.NewClient(producerOptions(f)...)
	if err != nil {
		return err
	}
	defer client.Close()
	var records []*kgo.Record
	for number := range f.Count {
		partition := int32(number % f.Partitions)
		records = append(records, &kgo.Record{Topic: f.Topic, Partition: partition, Value: []byte(strconv.Itoa(number))})
	}
	if err := client.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		return err
	}
	told.Emit("sent", places(records))
	return nil
}

func producerOptions(f flags) []kgo.Opt {
	options := []kgo.Opt{
		kgo.SeedBrokers(f.Brokers()...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(codecs[f.Codec]),
	}
	if f.TransactionalID != "" {
		timeout := driving.Milliseconds(f.TransactionMs)
		options = append(options, kgo.TransactionalID(f.TransactionalID), kgo.TransactionTimeout(timeout))
	}
	return options
}
