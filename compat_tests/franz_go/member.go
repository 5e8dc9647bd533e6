package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"ottla.compat/driving"
)

var balancers = map[string]kgo.GroupBalancer{
	"range":              kgo.RangeBalancer(),
	"roundrobin":         kgo.RoundRobinBalancer(),
	"sticky":             kgo.StickyBalancer(),
	"uniform":            kgo.StickyBalancer(), // KIP-848: what the client sends for its sticky balancer
	"cooperative-sticky": kgo.CooperativeStickyBalancer(),
}

type place struct {
	topic     string
	partition int32
}

// due is what is to be committed, while its partition is owned: the last record of each. A rebalance may refuse a commit
// and let the partition be kept; what is taken away is another member's to commit.
type due struct {
	mu      sync.Mutex
	records map[place]*kgo.Record
}

func (d *due) add(records []*kgo.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, one := range records {
		d.records[place{one.Topic, one.Partition}] = one
	}
}

func (d *due) drop(taken map[string][]int32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for topic, partitions := range taken {
		for _, one := range partitions {
			delete(d.records, place{topic, one})
		}
	}
}

func (d *due) all() []*kgo.Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Values(d.records))
}

func (d *due) clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.records)
}

// member of a consumer group: polls, tells the records, commits them, again.
func member(f flags, told *events) error {
	due := &due{records: map[place]*kgo.Record{}}
	client, err := kgo.NewClient(groupOptions(f, told, due.drop)...)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	for told.Stopping.Err() == nil {
		records, err := poll(client.PollRecords, f.Batch)
		if err != nil {
			return err
		}
		if len(records) > 0 {
			told.EmitRecords(places(records))
			due.add(records)
		}
		if ready := due.all(); len(ready) > 0 {
			if err := client.CommitRecords(context.Background(), ready...); err == nil {
				told.Emit("committed", ends(ready))
				due.clear()
			} else if len(records) > 0 {
				told.Emit("commit_failed", errorName(err))
			}
		}
		client.AllowRebalance()
	}
	return nil
}

// groupOptions of a consumer that tells what it owns; taken is called with the partitions that it owns no longer.
func groupOptions(f flags, told *events, taken func(map[string][]int32)) []kgo.Opt {
	tell := func(name string) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			partitions := []int32{}
			for _, some := range changed {
				partitions = append(partitions, some...)
			}
			slices.Sort(partitions)
			if name != "assigned" {
				taken(changed)
			}
			told.Emit(name, partitions)
		}
	}
	options := append(reaching(f.Brokers()),
		kgo.ConsumerGroup(f.Group),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.SessionTimeout(driving.Milliseconds(f.SessionMs)),
		kgo.HeartbeatInterval(driving.Milliseconds(f.HeartbeatMs)),
		kgo.OnPartitionsAssigned(tell("assigned")),
		kgo.OnPartitionsRevoked(tell("revoked")),
		kgo.OnPartitionsLost(tell("lost")),
	)
	assignor := f.Assignor
	if assignor == "" {
		assignor = map[string]string{"classic": "cooperative-sticky", "consumer": "uniform"}[f.Protocol]
	}
	options = append(options, kgo.Balancers(balancers[assignor]))
	if f.Protocol == "consumer" {
		options = append(options, kgo.ServerSideBalancer())
	}
	if f.Pattern != "" {
		options = append(options, kgo.ConsumeRegex(), kgo.ConsumeTopics(f.Pattern))
	} else {
		options = append(options, kgo.ConsumeTopics(f.Topic))
	}
	if f.InstanceID != "" {
		options = append(options, kgo.InstanceID(f.InstanceID))
	}
	if f.Isolation == "read_committed" {
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
