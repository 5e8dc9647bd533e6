package main

import (
	"context"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"ottla.compat/driving"
)

const again = 100 * time.Millisecond // until the next try of what failed

var balancers = map[string][]kafka.GroupBalancer{
	"":           nil, // the library's own choice
	"range":      {kafka.RangeGroupBalancer{}},
	"roundrobin": {kafka.RoundRobinGroupBalancer{}},
}

// member of a consumer group: in each generation takes records of its partitions, tells them, commits them, again.
// kafka.ConsumerGroup and not a kafka.Reader with a group: that one does not tell what it owns.
func member(f driving.Flags, told *driving.Events) error {
	m := &membership{f: f, told: told}
	if f.Isolation == "read_committed" {
		m.isolation = kafka.ReadCommitted
	}
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID:                f.Group,
		Brokers:           f.Brokers(),
		Topics:            []string{f.Topic},
		GroupBalancers:    balancers[f.Assignor],
		HeartbeatInterval: driving.Milliseconds(f.HeartbeatMs),
		SessionTimeout:    driving.Milliseconds(f.SessionMs),
		JoinGroupBackoff:  again,
		StartOffset:       kafka.FirstOffset,
	})
	if err != nil {
		return err
	}
	for told.Stopping.Err() == nil {
		generation, err := group.Next(told.Stopping)
		if err == nil {
			m.live(generation)
		} else if told.Stopping.Err() == nil { // the library tries again: the broker may be away
			told.Emit("poll_failed", nameOf(err))
		}
	}
	return group.Close()
}

type membership struct {
	f          driving.Flags
	told       *driving.Events
	isolation  kafka.IsolationLevel
	processing sync.Mutex // records are processed one batch at a time
}

// live through a generation: the library joins again once all its functions have returned.
func (m *membership) live(generation *kafka.Generation) {
	owned := []int{}
	for _, one := range generation.Assignments[m.f.Topic] {
		owned = append(owned, one.ID)
	}
	m.told.Emit("assigned", owned)
	var reading sync.WaitGroup
	for _, one := range generation.Assignments[m.f.Topic] {
		reading.Add(1)
		generation.Start(func(ctx context.Context) {
			defer reading.Done()
			m.read(ctx, generation, one)
		})
	}
	generation.Start(func(ctx context.Context) {
		<-ctx.Done()
		reading.Wait()
		m.told.Emit("revoked", owned)
	})
}

// read a partition for as long as it is owned.
func (m *membership) read(ctx context.Context, generation *kafka.Generation, of kafka.PartitionAssignment) {
	reader := partitionReader(m.f.Brokers(), m.f.Topic, int32(of.ID), m.isolation)
	defer reader.Close()
	if err := reader.SetOffset(of.Offset); err != nil {
		return
	}
	fetched := fetching(ctx, reader)
	due := int64(-1) // what is to be committed
	retry := time.NewTicker(again)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case message, open := <-fetched:
			if !open {
				return
			}
			due = m.process(ctx, generation, m.taken(fetched, message))
		case <-retry.C:
			if due >= 0 {
				due = m.commit(ctx, generation, of.ID, due, false)
			}
		}
	}
}

// taken gives the message and those that follow at once, up to a batch.
func (m *membership) taken(fetched <-chan kafka.Message, message kafka.Message) []kafka.Message {
	batch := []kafka.Message{message}
	pause := time.NewTimer(again / 10)
	defer pause.Stop()
	for len(batch) < m.f.Batch {
		select {
		case more, open := <-fetched:
			if !open {
				return batch
			}
			batch = append(batch, more)
		case <-pause.C:
			return batch
		}
	}
	return batch
}

// process tells the records and commits them; gives what is still to be committed, or -1.
func (m *membership) process(ctx context.Context, generation *kafka.Generation, batch []kafka.Message) int64 {
	m.processing.Lock()
	defer m.processing.Unlock()
	if ctx.Err() != nil { // it waited for its turn for too long
		return -1
	}
	records := [][3]any{}
	for _, one := range batch {
		records = append(records, [3]any{one.Partition, one.Offset, string(one.Value)})
	}
	m.told.EmitRecords(records)
	last := batch[len(batch)-1]
	return m.commitNow(generation, last.Partition, last.Offset+1, true)
}

func (m *membership) commit(ctx context.Context, generation *kafka.Generation, partition int, due int64, tell bool) int64 {
	m.processing.Lock()
	defer m.processing.Unlock()
	if ctx.Err() != nil {
		return -1
	}
	return m.commitNow(generation, partition, due, tell)
}

func (m *membership) commitNow(generation *kafka.Generation, partition int, due int64, tell bool) int64 {
	if err := generation.CommitOffsets(map[string]map[int]int64{m.f.Topic: {partition: due}}); err != nil {
		if tell {
			m.told.Emit("commit_failed", nameOf(err))
		}
		return due
	}
	m.told.Emit("committed", map[int]int64{partition: due})
	return -1
}
