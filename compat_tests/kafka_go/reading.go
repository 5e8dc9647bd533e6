package main

import (
	"context"
	"reflect"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"ottla.compat/driving"
)

// patience with a fetch, and before the next try: the library's own ten seconds delay the end of a reader.
const patience = 250 * time.Millisecond

// reader has one kafka.Reader a partition. The library has no call to pause one: it is not asked, which is the same.
type reader struct {
	library    *library
	topic      string
	isolation  kafka.IsolationLevel
	partitions []int32
	readers    map[int32]*kafka.Reader
	fetched    map[int32]<-chan kafka.Message // none before the first seek
	paused     map[int32]bool
	stop       func()
}

func (l *library) Reader(topic string, partitions []int32, isolation string) (driving.Reader, error) {
	r := &reader{
		library: l, topic: topic, partitions: partitions, readers: map[int32]*kafka.Reader{},
		fetched: map[int32]<-chan kafka.Message{}, paused: map[int32]bool{}, stop: func() {},
	}
	if isolation == "read_committed" {
		r.isolation = kafka.ReadCommitted
	}
	for _, one := range partitions {
		r.readers[one] = partitionReader(l.brokers, topic, one, r.isolation)
	}
	return r, nil
}

func partitionReader(brokers []string, topic string, partition int32, isolation kafka.IsolationLevel) *kafka.Reader {
	return kafka.NewReader(kafka.ReaderConfig{
		Brokers: brokers, Topic: topic, Partition: int(partition), IsolationLevel: isolation,
		MaxBytes: 10_000_000, MaxWait: patience, ReadBackoffMax: patience,
	})
}

// fetching gives the messages of a reader until the context ends. The channel closes then.
func fetching(ctx context.Context, from *kafka.Reader) <-chan kafka.Message {
	fetched := make(chan kafka.Message)
	go func() {
		defer close(fetched)
		for ctx.Err() == nil {
			message, err := from.FetchMessage(ctx)
			if err != nil {
				select { // the library tries again of its own accord
				case <-ctx.Done():
				case <-time.After(patience):
				}
				continue
			}
			select {
			case fetched <- message:
			case <-ctx.Done():
			}
		}
	}()
	return fetched
}

func (r *reader) SeekBeginning() error {
	return r.seek(func(int32) int64 { return kafka.FirstOffset })
}

func (r *reader) SeekEnd() error {
	ends, err := r.library.ends(r.topic, r.partitions, r.isolation)
	if err != nil {
		return err
	}
	return r.Seek(ends)
}

func (r *reader) Seek(offsets map[int32]int64) error {
	return r.seek(func(partition int32) int64 { return offsets[partition] })
}

func (r *reader) seek(to func(int32) int64) error {
	r.stop()
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = func() {
		cancel()
		for _, one := range r.fetched {
			for range one {
			}
		}
	}
	for partition, one := range r.readers {
		if err := one.SetOffset(to(partition)); err != nil {
			return err
		}
		r.fetched[partition] = fetching(ctx, one)
	}
	return nil
}

func (r *reader) SeekTime(timestampMs int64) (map[int32]*int64, error) {
	answer := map[int32]*int64{}
	err := r.library.offsets(r.topic, r.partitions, timestampMs, r.isolation, func(one kafka.PartitionOffsets) {
		answer[int32(one.Partition)] = nil
		for offset := range one.Offsets {
			if offset >= 0 { // else there is no record as late
				answer[int32(one.Partition)] = &offset
			}
		}
	})
	if err != nil {
		return nil, err
	}
	ends, err := r.library.ends(r.topic, r.partitions, r.isolation)
	if err != nil {
		return nil, err
	}
	return answer, r.seek(func(partition int32) int64 {
		if found := answer[partition]; found != nil {
			return *found
		}
		return ends[partition]
	})
}

func (r *reader) Take(count int) ([]driving.Received, error) {
	late := time.NewTimer(driving.Deadline)
	defer late.Stop()
	cases := []reflect.SelectCase{{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(late.C)}}
	for partition, one := range r.fetched {
		if !r.paused[partition] {
			cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(one)})
		}
	}
	taken := []driving.Received{}
	for len(taken) < count {
		chosen, value, _ := reflect.Select(cases)
		if chosen == 0 {
			break
		}
		message := value.Interface().(kafka.Message)
		received := driving.Received{
			Place:       driving.Place{Partition: int32(message.Partition), Offset: message.Offset},
			TimestampMs: message.Time.UnixMilli(),
			Key:         message.Key,
			Value:       message.Value,
		}
		for _, header := range message.Headers {
			received.Headers = append(received.Headers, driving.Header{Name: header.Key, Value: header.Value})
		}
		taken = append(taken, received)
	}
	return taken, nil
}

func (r *reader) Pause(partitions []int32) error {
	for _, one := range partitions {
		r.paused[one] = true
	}
	return nil
}

func (r *reader) Resume(partitions []int32) error {
	for _, one := range partitions {
		delete(r.paused, one)
	}
	return nil
}

// Close all readers at once: each waits for its fetch to end.
func (r *reader) Close() error {
	r.stop()
	var closing sync.WaitGroup
	for _, one := range r.readers {
		closing.Go(func() { one.Close() })
	}
	closing.Wait()
	return nil
}
