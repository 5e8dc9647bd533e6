package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// txn is a transactional producer that does what it is told, a command at a time, and answers each with done or error.
func txn(f flags, told *events) error {
	client, err := kgo.NewClient(producerOptions(f)...)
	if err != nil {
		return err
	}
	defer client.Close()
	for command := range told.Commands {
		if value, err := obey(client, strings.Fields(command)); err != nil {
			told.Emit("error", errorName(err))
		} else {
			told.Emit("done", value)
		}
	}
	return nil
}

// obey gives what `done` carries: the offset of a record sent with `send`, else nothing.
func obey(client *kgo.Client, words []string) (any, error) {
	ctx := context.Background()
	switch words[0] {
	case "init":
		_, _, err := client.ProducerID(ctx)
		return nil, err
	case "begin":
		return nil, client.BeginTransaction()
	case "send": // TOPIC PARTITION VALUE, acknowledged before the answer
		sent, err := client.ProduceSync(ctx, record(words)).First()
		if err != nil {
			return nil, err
		}
		return sent.Offset, nil
	case "queue": // the same, acknowledged by `flush` or the end
		client.Produce(ctx, record(words), nil)
		return nil, nil
	case "flush":
		return nil, client.Flush(ctx)
	case "commit":
		if err := client.Flush(ctx); err != nil {
			return nil, err
		}
		return nil, client.EndTransaction(ctx, kgo.TryCommit)
	case "abort":
		if err := client.AbortBufferedRecords(ctx); err != nil {
			return nil, err
		}
		return nil, client.EndTransaction(ctx, kgo.TryAbort)
	}
	return nil, fmt.Errorf("no command %q", words[0])
}

func record(words []string) *kgo.Record {
	partition, err := strconv.ParseInt(words[2], 10, 32)
	if err != nil {
		panic(err)
	}
	return &kgo.Record{Topic: words[1], Partition: int32(partition), Value: []byte(words[3])}
}

// copyOnce, exactly once: consumes --topic in a group, sends each value to --to, and commits both in one transaction.
func copyOnce(f flags, told *events) error {
	options := append(groupOptions(f, told, func(map[string][]int32) {}), producerOptions(f)...)
	session, err := kgo.NewGroupTransactSession(append(options, kgo.RequireStableFetchOffsets())...)
	if err != nil {
		return err
	}
	defer session.CloseAllowingRebalance()
	if _, _, err := session.Client().ProducerID(context.Background()); err != nil {
		return err
	}
	told.Emit("ready", nil)
	for told.Stopping.Err() == nil {
		records, err := poll(session.PollRecords, f.Batch)
		if err != nil {
			return err
		}
		if len(records) > 0 {
			if err := copyBatch(session, records, f.To, told); err != nil {
				return err
			}
		}
		session.AllowRebalance()
	}
	return nil
}

func copyBatch(session *kgo.GroupTransactSession, records []*kgo.Record, to string, told *events) error {
	ctx := context.Background()
	if err := session.Begin(); err != nil {
		return err
	}
	failed := kgo.AbortingFirstErrPromise(session.Client())
	for _, one := range records {
		session.Produce(ctx, &kgo.Record{Topic: to, Partition: one.Partition, Key: one.Key, Value: one.Value}, failed.Promise())
	}
	told.EmitRecords(places(records))
	committed, err := session.End(ctx, failed.Err() == nil)
	if err != nil {
		return err
	}
	if committed {
		told.Emit("done", nil)
	} else { // the group has rebalanced: the session has rewound to what is committed
		told.Emit("commit_failed", "aborted")
	}
	return nil
}
