package main

import (
	"reflect"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"ottla.compat/driving"
)

// reader has one consumer a partition, each with a channel of its own. A seek ends them and begins again elsewhere.
type reader struct {
	client     sarama.Client
	consumer   sarama.Consumer
	topic      string
	partitions []int32
	open       map[int32]sarama.PartitionConsumer
	paused     map[int32]bool
}

func (l *library) Reader(topic string, partitions []int32, isolation string) (driving.Reader, error) {
	config := settings()
	if isolation == "read_committed" {
		config.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	client, err := sarama.NewClient(l.brokers, config)
	if err != nil {
		return nil, err
	}
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		client.Close()
		return nil, err
	}
	return &reader{client, consumer, topic, partitions, map[int32]sarama.PartitionConsumer{}, map[int32]bool{}}, nil
}

func (r *reader) SeekBeginning() error {
	return r.seek(func(int32) int64 { return sarama.OffsetOldest })
}

// SeekEnd: the library asks for the end before ConsumePartition returns.
func (r *reader) SeekEnd() error { return r.seek(func(int32) int64 { return sarama.OffsetNewest }) }

func (r *reader) Seek(offsets map[int32]int64) error {
	return r.seek(func(partition int32) int64 { return offsets[partition] })
}

func (r *reader) seek(to func(int32) int64) error {
	if err := r.end(); err != nil {
		return err
	}
	for _, one := range r.partitions {
		opened, err := r.consumer.ConsumePartition(r.topic, one, to(one))
		if err != nil {
			return err
		}
		r.open[one] = opened
		if r.paused[one] {
			opened.Pause()
		}
	}
	return nil
}

// end of all that is open: first told, then waited for.
func (r *reader) end() error {
	for _, one := range r.open {
		one.AsyncClose()
	}
	for _, one := range r.open {
		for range one.Messages() {
		}
		for err := range one.Errors() {
			return err
		}
	}
	clear(r.open)
	return nil
}

func (r *reader) SeekTime(timestampMs int64) (map[int32]*int64, error) {
	answer := map[int32]*int64{}
	for _, one := range r.partitions {
		found, err := r.client.GetOffset(r.topic, one, timestampMs)
		if err != nil {
			return nil, err
		}
		answer[one] = nil
		if found >= 0 {
			answer[one] = &found
		}
	}
	return answer, r.seek(func(partition int32) int64 {
		if found := answer[partition]; found != nil {
			return *found
		}
		return sarama.OffsetNewest
	})
}

// Take from the channels of all partitions that are not paused: what a paused one had fetched before waits in its own.
func (r *reader) Take(count int) ([]driving.Received, error) {
	late := time.NewTimer(driving.Deadline)
	defer late.Stop()
	cases := []reflect.SelectCase{{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(late.C)}}
	for partition, one := range r.open {
		if !r.paused[partition] {
			cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(one.Messages())})
		}
	}
	taken := []driving.Received{}
	for len(taken) < count {
		chosen, value, ok := reflect.Select(cases)
		if chosen == 0 {
			break
		}
		if !ok { // the library gave this partition up
			cases = slices.Delete(cases, chosen, chosen+1)
			continue
		}
		message := value.Interface().(*sarama.ConsumerMessage)
		received := driving.Received{
			Place:       driving.Place{Partition: message.Partition, Offset: message.Offset},
			TimestampMs: message.Timestamp.UnixMilli(),
			Key:         message.Key,
			Value:       message.Value,
		}
		for _, header := range message.Headers {
			received.Headers = append(received.Headers, driving.Header{Name: string(header.Key), Value: header.Value})
		}
		taken = append(taken, received)
	}
	return taken, nil
}

func (r *reader) Pause(partitions []int32) error {
	for _, one := range partitions {
		r.paused[one] = true
		r.open[one].Pause()
	}
	return nil
}

func (r *reader) Resume(partitions []int32) error {
	for _, one := range partitions {
		delete(r.paused, one)
		r.open[one].Resume()
	}
	return nil
}

func (r *reader) Close() error {
	if err := r.end(); err != nil {
		return err
	}
	if err := r.consumer.Close(); err != nil {
		return err
	}
	return r.client.Close()
}
