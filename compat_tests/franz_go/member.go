package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

var balancers = map[string]kgo.GroupBalancer{
	"range":              kgo.RangeBalancer(),
	"roundrobin":         kgo.RoundRobinBalancer(),
	"sticky":             kgo.StickyBalancer(),
	"uniform":            kgo.StickyBalancer(), // KIP-848: what the client sends for its sticky balancer
	"cooperative-sticky": kgo.CooperativeStickyBalancer(),
}

// member of a consumer group: polls, tells the records, commits them, again.
func member(f flags, told *events) error {
	client, err := kgo.NewClient(groupOptions(f, told)...)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	for told.stopping.Err() == nil {
		records, err := poll(client.PollRecords, f.batch)
		if err != nil {
			return err
		}
		if len(records) > 0 {
			told.emitRecords(places(records))
			if err := client.CommitRecords(context.Background(), records...); err != nil {
				told.emit("commit_failed", errorName(err))
			} else {
				told.emit("committed", ends(records))
			}
		}
		client.AllowRebalance()
	}
	return nil
}

func groupOptions(f flags, told *events) []kgo.Opt {
	tell := func(name string) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			partitions := []int32{}
			for _, some := range changed {
				partitions = append(partitions, some...)
			}
			slices.Sort(partitions)
			told.emit(name, partitions)
		}
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(f.bootstrap),
		kgo.ConsumerGroup(f.group),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.SessionTimeout(milliseconds(f.sessionMs)),
		kgo.HeartbeatInterval(milliseconds(f.heartbeatMs)),
		kgo.OnPartitionsAssigned(tell("assigned")),
		kgo.OnPartitionsRevoked(tell("revoked")),
		kgo.OnPartitionsLost(tell("lost")),
	}
	assignor := f.assignor
	if assignor == "" {
		assignor = map[string]string{"classic": "cooperative-sticky", "consumer": "uniform"}[f.protocol]
	}
	options = append(options, kgo.Balancers(balancers[assignor]))
	if f.protocol == "consumer" {
		options = append(options, kgo.ServerSideBalancer())
	}
	if f.pattern != "" {
		options = append(options, kgo.ConsumeRegex(), kgo.ConsumeTopics(f.pattern))
	} else {
		options = append(options, kgo.ConsumeTopics(f.topic))
	}
	if f.instanceID != "" {
		options = append(options, kgo.InstanceID(f.instanceID))
	}
	if f.isolation == "read_committed" {
		options = append(options, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	return options
}

// poll waits 100 ms for records. Errors of single partitions heal (the client retries); a closed client does not.
func poll(from func(context.Context, int) kgo.Fetches, batch int) ([]*kgo.Record, error) {
	soon, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	fetches := from(soon, batch)
	if fetches.IsClientClosed() {
		return nil, errors.New("the client was closed")
	}
	return fetches.Records(), nil
}

func places(records []*kgo.Record) [][3]any {
	told := [][3]any{}
	for _, one := range records {
		told = append(told, [3]any{one.Partition, one.Offset, string(one.Value)})
	}
	return told
}

func ends(records []*kgo.Record) map[int32]int64 {
	ends := map[int32]int64{}
	for _, one := range records {
		ends[one.Partition] = max(ends[one.Partition], one.Offset+1)
	}
	return ends
}
