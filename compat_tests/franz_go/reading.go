package main

import (
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"ottla.compat/driving"
)

// reader consumes partitions directly. A seek gives them up and takes them again elsewhere: kgo.Client.SetOffsets is for
// partitions that have been polled already.
type reader struct {
	client     *kgo.Client
	admin      *kadm.Client
	topic      string
	partitions []int32
	ends       func() (kadm.ListedOffsets, error)
}

func (l *library) Reader(topic string, partitions []int32, isolation string) (driving.Reader, error) {
	options := append(reaching(l.brokers),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{}),
		kgo.FetchMaxWait(500*time.Millisecond), // a partition that is resumed waits for the fetch without it to end
	)
	ends := func() (kadm.ListedOffsets, error) {
		ctx, cancel := soon()
		defer cancel()
		return l.admin.ListEndOffsets(ctx, topic)
	}
	if isolation == "read_committed" {
		options = append(options, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
		ends = func() (kadm.ListedOffsets, error) {
			ctx, cancel := soon()
			defer cancel()
			return l.admin.ListCommittedOffsets(ctx, topic)
		}
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	return &reader{client, l.admin, topic, partitions, ends}, nil
}

func (r *reader) SeekBeginning() error {
	r.seek(func(int32) kgo.Offset { return kgo.NewOffset().AtStart() })
	return nil
}

func (r *reader) SeekEnd() error {
	ends, err := offsetsOfAll(r.partitions, r.topic, r.ends)
	if err != nil {
		return err
	}
	return r.Seek(ends)
}

func (r *reader) Seek(offsets map[int32]int64) error {
	r.seek(func(partition int32) kgo.Offset { return kgo.NewOffset().At(offsets[partition]) })
	return nil
}

func (r *reader) seek(to func(int32) kgo.Offset) {
	offsets := map[int32]kgo.Offset{}
	for _, one := range r.partitions {
		offsets[one] = to(one)
	}
	r.client.RemoveConsumePartitions(r.some(r.partitions))
	r.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{r.topic: offsets})
}

func (r *reader) some(partitions []int32) map[string][]int32 {
	return map[string][]int32{r.topic: partitions}
}

// SeekTime: the admin client gives the end, without a timestamp, where no record is as late.
func (r *reader) SeekTime(timestampMs int64) (map[int32]*int64, error) {
	ctx, cancel := soon()
	defer cancel()
	listed, err := r.admin.ListOffsetsAfterMilli(ctx, timestampMs, r.topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, err
	}
	answer, offsets := map[int32]*int64{}, map[int32]int64{}
	for _, one := range r.partitions {
		found := listed[r.topic][one]
		answer[one], offsets[one] = nil, found.Offset
		if found.Timestamp >= 0 {
			answer[one] = &found.Offset
		}
	}
	return answer, r.Seek(offsets)
}

func (r *reader) Take(count int) ([]driving.Received, error) {
	ctx, cancel := soon()
	defer cancel()
	taken := []driving.Received{}
	for len(taken) < count && ctx.Err() == nil {
		for _, one := range r.client.PollRecords(ctx, count-len(taken)).Records() {
			received := driving.Received{
				Place:       driving.Place{Partition: one.Partition, Offset: one.Offset},
				TimestampMs: one.Timestamp.UnixMilli(),
				Key:         one.Key,
				Value:       one.Value,
			}
			for _, header := range one.Headers {
				received.Headers = append(received.Headers, driving.Header{Name: header.Key, Value: header.Value})
			}
			taken = append(taken, received)
		}
	}
	return taken, nil
}

func (r *reader) Pause(partitions []int32) error {
	r.client.PauseFetchPartitions(r.some(partitions))
	return nil
}

func (r *reader) Resume(partitions []int32) error {
	r.client.ResumeFetchPartitions(r.some(partitions))
	return nil
}

func (r *reader) Close() error {
	r.client.Close()
	return nil
}
