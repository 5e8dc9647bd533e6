package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
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
	for number := range f.count {
		partition := int32(number % f.partitions)
		records = append(records, &kgo.Record{Topic: f.topic, Partition: partition, Value: []byte(strconv.Itoa(number))})
	}
	if err := client.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		return err
	}
	told.emit("sent", places(records))
	return nil
}

func producerOptions(f flags) []kgo.Opt {
	options := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(f.bootstrap, ",")...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(codecs[f.codec]),
	}
	if f.transactionalID != "" {
		timeout := milliseconds(f.transactionMs)
		options = append(options, kgo.TransactionalID(f.transactionalID), kgo.TransactionTimeout(timeout))
	}
	return options
}
