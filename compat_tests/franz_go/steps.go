package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"ottla.compat/driving"
)

const stepTimeout = 60 * time.Second

// stepper does the steps of compat_tests/transactions/driver.py: a transactional producer and its consumer, a step a
// line. With a group it is a GroupTransactSession, which commits the offsets of all that was taken when it ends.
type stepper struct {
	f       flags
	told    *events
	client  *kgo.Client
	session *kgo.GroupTransactSession
}

func steps(f flags, told *events) error {
	s := &stepper{f: f, told: told}
	for command := range told.Commands {
		if value, err := s.obey(strings.Fields(command)); err != nil {
			fatal := isFenced(err)
			told.Emit("error", []any{stepErrorName(err), !fatal, fatal})
		} else {
			told.Emit("done", value)
		}
	}
	if s.session != nil {
		s.session.CloseAllowingRebalance()
	} else if s.client != nil {
		s.client.Close()
	}
	return nil
}

func isFenced(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch)
}

// stepErrorName is the name without its underscores: PRODUCER_FENCED is ProducerFenced to the tests.
func stepErrorName(err error) string {
	switch {
	case errors.Is(err, kerr.ProducerFenced):
		return "ProducerFenced"
	case errors.Is(err, kerr.InvalidProducerEpoch):
		return "InvalidProducerEpoch"
	}
	return errorName(err)
}

func (s *stepper) obey(words []string) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
	defer cancel()
	switch words[0] {
	case "init":
		if err := s.open(); err != nil {
			return nil, err
		}
		_, _, err := s.client.ProducerID(ctx)
		return nil, err
	case "begin":
		if s.session != nil {
			return nil, s.session.Begin()
		}
		return nil, s.client.BeginTransaction()
	case "send":
		return s.send(ctx, words[1:])
	case "take":
		return s.take(words[1])
	case "offsets": // part of End
		return nil, nil
	case "commit":
		return nil, s.end(ctx, kgo.TryCommit)
	case "abort":
		return s.session != nil, s.end(ctx, kgo.TryAbort) // a session rewinds its consumer
	case "read":
		return s.read(ctx, words[1:])
	}
	return nil, fmt.Errorf("no command %q", words[0])
}

func (s *stepper) open() (err error) {
	options := producerOptions(s.f)
	if s.f.Group == "" {
		s.client, err = kgo.NewClient(options...)
		return err
	}
	s.session, err = kgo.NewGroupTransactSession(
		append(append(options, groupOptions(s.f, s.told, func(map[string][]int32) {})...), kgo.RequireStableFetchOffsets())...)
	if err == nil {
		s.client = s.session.Client()
	}
	return err
}

func (s *stepper) send(ctx context.Context, words []string) (any, error) {
	var records []*kgo.Record
	for at := 0; at < len(words); at += 3 {
		records = append(records, record(append([]string{"send"}, words[at:at+3]...)))
	}
	if err := s.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return nil, err
	}
	offsets := []int64{}
	for _, one := range records {
		offsets = append(offsets, one.Offset)
	}
	return offsets, nil
}

func (s *stepper) take(timeoutMs string) (any, error) {
	left, err := strconv.Atoi(timeoutMs)
	if err != nil {
		return nil, err
	}
	s.session.AllowRebalance()
	for deadline := time.Now().Add(driving.Milliseconds(left)); time.Now().Before(deadline); {
		records, err := poll(s.session.PollRecords, s.f.Batch)
		if err != nil {
			return nil, err
		}
		if len(records) > 0 {
			return places(records), nil
		}
		s.session.AllowRebalance()
	}
	return []any{}, nil
}

func (s *stepper) end(ctx context.Context, try kgo.TransactionEndTry) error {
	if s.session == nil {
		return s.client.EndTransaction(ctx, try)
	}
	committed, err := s.session.End(ctx, try)
	if err == nil && !committed && bool(try) {
		return errors.New("the session aborted instead")
	}
	return err
}

func (s *stepper) read(ctx context.Context, words []string) (any, error) {
	topic, isolation, end := words[0], words[1], words[2]
	offsets := map[int32]kgo.Offset{}
	for _, word := range words[3:] {
		partition, err := strconv.ParseInt(word, 10, 32)
		if err != nil {
			return nil, err
		}
		offsets[int32(partition)] = kgo.NewOffset().AtStart()
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(s.f.Brokers()...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets}),
	}
	if isolation == "read_committed" {
		options = append(options, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	reader, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	told := [][3]any{}
	for len(offsets) > 0 {
		fetches := reader.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("no end of %v", offsets)
		}
		for _, one := range fetches.Records() {
			told = append(told, [3]any{one.Partition, one.Offset, string(one.Value)})
			if string(one.Value) == end {
				delete(offsets, one.Partition)
			}
		}
	}
	return told, nil
}
