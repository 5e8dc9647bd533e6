package main

import (
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"ottla.compat/driving"
)

// library is franz-go in mode client: its admin client, and what makes senders and readers.
type library struct {
	brokers []string
	client  *kgo.Client
	admin   *kadm.Client
}

func open(f flags) (driving.Client, error) {
	client, err := kgo.NewClient(reaching(f.Brokers())...)
	if err != nil {
		return nil, err
	}
	return &library{f.Brokers(), client, kadm.NewClient(client)}, nil
}

// reaching brokers: a connection that is closed at its first request is what a proxy gives while its broker restarts,
// and what franz-go takes for wrong settings unless it is told otherwise.
func reaching(brokers []string) []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(brokers...), kgo.AlwaysRetryEOF()}
}

func soon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), driving.Deadline)
}

func (l *library) Version() string { return driving.VersionOf("github.com/twmb/franz-go") }

func (l *library) Close() error {
	l.client.Close()
	return nil
}

func (l *library) CreateTopic(topic string, partitions int, configs map[string]string) error {
	ctx, cancel := soon()
	defer cancel()
	given := map[string]*string{}
	for name, value := range configs {
		given[name] = &value
	}
	_, err := l.admin.CreateTopic(ctx, int32(partitions), 1, given, topic)
	return err
}

func (l *library) Topics() (map[string]int, error) {
	ctx, cancel := soon()
	defer cancel()
	// without that the answer comes from what the library knows, for five seconds, and leaves out a topic that has grown
	details, err := l.admin.ListTopics(kadm.WithAuthorizedOps(ctx))
	topics := map[string]int{}
	for topic, one := range details {
		topics[topic] = len(one.Partitions)
	}
	return topics, err
}

func (l *library) AddPartitions(topic string, total int) error {
	ctx, cancel := soon()
	defer cancel()
	answers, err := l.admin.UpdatePartitions(ctx, total, topic)
	if err != nil {
		return err
	}
	return answers[topic].Err
}

func (l *library) DeleteTopic(topic string) error {
	ctx, cancel := soon()
	defer cancel()
	_, err := l.admin.DeleteTopic(ctx, topic)
	return err
}

func (l *library) DeleteRecords(topic string, before map[int32]int64) error {
	ctx, cancel := soon()
	defer cancel()
	offsets := kadm.Offsets{}
	for partition, offset := range before {
		offsets.AddOffset(topic, partition, offset, -1)
	}
	answers, err := l.admin.DeleteRecords(ctx, offsets)
	if err != nil {
		return err
	}
	return answers.Error()
}

func (l *library) Config(topic string) (map[string]string, error) {
	ctx, cancel := soon()
	defer cancel()
	described, err := l.admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return nil, err
	}
	found, err := described.On(topic, nil)
	if err != nil {
		return nil, err
	}
	configs := map[string]string{}
	for _, one := range found.Configs {
		configs[one.Key] = one.MaybeValue()
	}
	return configs, found.Err
}

func (l *library) SetConfig(topic, name, value string) error {
	ctx, cancel := soon()
	defer cancel()
	answers, err := l.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}}, topic)
	if err != nil {
		return err
	}
	altered, err := answers.On(topic, nil)
	if err != nil {
		return err
	}
	return altered.Err
}

func (l *library) Ends(topic string, partitions []int32) (map[int32]int64, error) {
	ctx, cancel := soon()
	defer cancel()
	return offsetsOfAll(partitions, topic, func() (kadm.ListedOffsets, error) { return l.admin.ListEndOffsets(ctx, topic) })
}

// offsetsOfAll asks, and gives the offset of each of the partitions.
func offsetsOfAll(
	partitions []int32, topic string, ask func() (kadm.ListedOffsets, error),
) (map[int32]int64, error) {
	listed, err := ask()
	if err == nil {
		err = listed.Error()
	}
	offsets := map[int32]int64{}
	for _, partition := range partitions {
		offsets[partition] = listed[topic][partition].Offset
	}
	return offsets, err
}

func (l *library) Committed(group, topic string, partitions []int32) (map[int32]*int64, error) {
	ctx, cancel := soon()
	defer cancel()
	found, err := l.admin.FetchOffsets(ctx, group)
	if err == nil {
		err = found.Error()
	}
	committed := map[int32]*int64{}
	for _, partition := range partitions {
		committed[partition] = nil
		if one, ok := found.Lookup(topic, partition); ok && one.At >= 0 {
			committed[partition] = &one.At
		}
	}
	return committed, err
}

func (l *library) Groups() ([]string, error) {
	ctx, cancel := soon()
	defer cancel()
	listed, err := l.admin.ListGroups(ctx)
	return slices.Sorted(maps.Keys(listed)), err
}

func (l *library) Group(group string) (string, int, error) {
	ctx, cancel := soon()
	defer cancel()
	described, err := l.admin.DescribeGroups(ctx, group)
	if err != nil {
		return "", 0, err
	}
	return described[group].State, len(described[group].Members), described[group].Err
}

func (l *library) DeleteGroup(group string) error {
	ctx, cancel := soon()
	defer cancel()
	_, err := l.admin.DeleteGroup(ctx, group)
	return err
}
