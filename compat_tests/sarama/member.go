package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"ottla.compat/driving"
)

const again = 100 * time.Millisecond // until the next try of what failed

var strategies = map[string]func() sarama.BalanceStrategy{
	"":                   sarama.NewBalanceStrategyRange, // the library's own choice
	"range":              sarama.NewBalanceStrategyRange,
	"roundrobin":         sarama.NewBalanceStrategyRoundRobin,
	"sticky":             sarama.NewBalanceStrategySticky,
	"cooperative-sticky": sarama.NewBalanceStrategyCooperativeSticky,
}

// member of a consumer group: takes records of a partition, tells them, commits them, again.
func member(f driving.Flags, told *driving.Events) error {
	config := settings()
	config.Metadata.Retry.Max = 1_000_000 // heartbeats are tried again as often as that, without a pause: a restart is many
	group := &config.Consumer.Group
	group.Session.Timeout = driving.Milliseconds(f.SessionMs)
	group.Heartbeat.Interval = driving.Milliseconds(f.HeartbeatMs)
	group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategies[f.Assignor]()}
	group.Rebalance.Retry.Backoff = again
	group.InstanceId = f.InstanceID
	config.Consumer.MaxWaitTime = again // commits wait behind the fetch on the one connection to the broker
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	if f.Isolation == "read_committed" {
		config.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	var client sarama.Client
	untilDone(told, func() (err error) {
		client, err = sarama.NewClient(f.Brokers(), config)
		return err
	})
	if client == nil {
		return nil
	}
	defer client.Close()
	consumer, err := sarama.NewConsumerGroupFromClient(f.Group, client)
	if err != nil {
		return err
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return err
	}
	handler := &handler{told: told, admin: admin, group: f.Group, batch: f.Batch}
	for told.Stopping.Err() == nil {
		untilDone(told, func() error { return consumer.Consume(told.Stopping, []string{f.Topic}, handler) })
	}
	return consumer.Close()
}

// untilDone tries again until it works or the test wants the end: the broker may be away.
func untilDone(told *driving.Events, try func() error) {
	for told.Stopping.Err() == nil {
		err := try()
		if err == nil || told.Stopping.Err() != nil {
			return
		}
		told.Emit("poll_failed", nameOf(err))
		select {
		case <-told.Stopping.Done():
		case <-time.After(again):
		}
	}
}

// handler of all claims. The library runs them beside each other; records are processed one batch at a time.
type handler struct {
	told       *driving.Events
	admin      sarama.ClusterAdmin
	group      string
	batch      int
	processing sync.Mutex
}

func (h *handler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (h *handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim runs for as long as the partition is owned.
func (h *handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	h.told.Emit("assigned", []int32{claim.Partition()})
	defer func() {
		name := "revoked"
		if errors.Is(context.Cause(session.Context()), sarama.ErrUnknownMemberId) {
			name = "lost"
		}
		h.told.Emit(name, []int32{claim.Partition()})
	}()
	due := int64(-1) // what is to be committed
	retry := time.NewTicker(again)
	defer retry.Stop()
	for {
		select {
		case <-session.Context().Done():
			return nil
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			due = h.process(session, claim, h.taken(claim, message))
		case <-retry.C:
			if due >= 0 {
				due = h.commit(session, claim, due, false)
			}
		}
	}
}

// taken gives the message and those that are there already, up to a batch.
func (h *handler) taken(claim sarama.ConsumerGroupClaim, message *sarama.ConsumerMessage) []*sarama.ConsumerMessage {
	batch := []*sarama.ConsumerMessage{message}
	for len(batch) < h.batch {
		select {
		case more, open := <-claim.Messages():
			if !open {
				return batch
			}
			batch = append(batch, more)
		default:
			return batch
		}
	}
	return batch
}

// process tells the records and commits them; gives what is still to be committed, or -1.
func (h *handler) process(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim, batch []*sarama.ConsumerMessage,
) int64 {
	h.processing.Lock()
	defer h.processing.Unlock()
	if session.Context().Err() != nil { // it waited for its turn for too long
		return -1
	}
	records := [][3]any{}
	for _, one := range batch {
		records = append(records, [3]any{one.Partition, one.Offset, string(one.Value)})
	}
	h.told.EmitRecords(records)
	return h.commitNow(session, claim, batch[len(batch)-1].Offset+1, true)
}

func (h *handler) commit(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim, due int64, tell bool,
) int64 {
	h.processing.Lock()
	defer h.processing.Unlock()
	return h.commitNow(session, claim, due, tell)
}

// commitNow: the session does not say whether a commit was refused, so the broker is asked what it has. The metadata
// tell this member's commits from others'.
func (h *handler) commitNow(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim, due int64, tell bool,
) int64 {
	topic, partition := claim.Topic(), claim.Partition()
	session.MarkOffset(topic, partition, due, session.MemberID())
	session.Commit()
	found, err := h.admin.ListConsumerGroupOffsets(h.group, map[string][]int32{topic: {partition}})
	if err == nil {
		block := found.GetBlock(topic, partition)
		if block != nil && block.Offset == due && block.Metadata == session.MemberID() {
			h.told.Emit("committed", map[int32]int64{partition: due})
			return -1
		}
		err = errors.New("not committed")
	}
	if tell {
		h.told.Emit("commit_failed", nameOf(err))
	}
	return due
}
