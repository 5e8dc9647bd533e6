package main

import (
	"time"

	"github.com/segmentio/kafka-go"

	"ottla.compat/driving"
)

var codecs = map[string]kafka.Compression{
	"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
}

// sender is one writer. Where its records went is told by the writer's completion alone.
type sender struct{ writer *kafka.Writer }

// ticket goes with a message through the writer: the partition that it names, and where it went.
type ticket struct {
	named *int32
	place driving.Place
}

func (l *library) Sender(o driving.SenderOptions) (driving.Sender, error) {
	var inner kafka.Balancer = &kafka.Hash{} // not the writer's own choice, which has no eye for keys
	if o.Partitioner != "" {
		inner = kafka.BalancerFunc(func(m kafka.Message, partitions ...int) int {
			return int(driving.CRC32(m.Key, len(partitions)))
		})
	}
	return &sender{&kafka.Writer{
		Addr:         kafka.TCP(l.brokers...),
		Balancer:     mayBeNamed{inner},
		MaxAttempts:  int(driving.Deadline / time.Second), // a second apart, soon
		BatchSize:    1_000,
		BatchTimeout: 5 * time.Millisecond,
		RequiredAcks: kafka.RequireAll,
		Compression:  codecs[o.Compression],
		Transport:    &kafka.Transport{},
		Completion: func(messages []kafka.Message, _ error) {
			for _, one := range messages {
				one.WriterData.(*ticket).place = driving.Place{Partition: int32(one.Partition), Offset: one.Offset}
			}
		},
	}}, nil
}

// mayBeNamed lets a record name its partition; where it does not, another balancer decides.
type mayBeNamed struct{ kafka.Balancer }

func (b mayBeNamed) Balance(m kafka.Message, partitions ...int) int {
	if named := m.WriterData.(*ticket).named; named != nil {
		return int(*named)
	}
	return b.Balancer.Balance(m, partitions...)
}

func (s *sender) Send(topic string, records []driving.Record) ([]driving.Place, error) {
	ctx, cancel := soon()
	defer cancel()
	messages, tickets := []kafka.Message{}, []*ticket{}
	for _, one := range records {
		tickets = append(tickets, &ticket{named: one.Partition})
		message := kafka.Message{Topic: topic, Key: one.Key, Value: one.Value, WriterData: tickets[len(tickets)-1]}
		if one.TimestampMs != nil {
			message.Time = time.UnixMilli(*one.TimestampMs)
		}
		for _, header := range one.Headers {
			message.Headers = append(message.Headers, kafka.Header{Key: header.Name, Value: header.Value})
		}
		messages = append(messages, message)
	}
	if err := s.writer.WriteMessages(ctx, messages...); err != nil {
		return nil, err
	}
	places := []driving.Place{}
	for _, one := range tickets {
		places = append(places, one.place)
	}
	return places, nil
}

func (s *sender) Begin() error                                      { return errNone }
func (s *sender) Commit() error                                     { return errNone }
func (s *sender) Abort() error                                      { return errNone }
func (s *sender) SendOffsets(string, string, map[int32]int64) error { return errNone }
func (s *sender) Close() error                                      { return s.writer.Close() }
