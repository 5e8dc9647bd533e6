package main

import (
	"context"
	"errors"

	"github.com/segmentio/kafka-go"

	"ottla.compat/driving"
)

var errNone = errors.New("kafka-go has no such call")

// library is kafka-go in mode client: its requests for an admin, and what makes senders and readers.
type library struct{ brokers []string }

func open(f driving.Flags) (driving.Client, error) { return &library{f.Brokers()}, nil }

// asking is a client for one request. The library tries once, on a connection of before if there is one, which may be
// dead, and answers what it can from metadata of before.
type asking struct {
	*kafka.Client
	ctx    context.Context
	cancel context.CancelFunc
}

func (l *library) asking() asking {
	ctx, cancel := soon()
	client := &kafka.Client{Addr: kafka.TCP(l.brokers...), Timeout: driving.Deadline, Transport: &kafka.Transport{}}
	return asking{client, ctx, cancel}
}

func (a asking) end() {
	a.cancel()
	a.Transport.(*kafka.Transport).CloseIdleConnections()
}

func soon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), driving.Deadline)
}

func (l *library) Version() string { return driving.VersionOf("github.com/segmentio/kafka-go") }

func (l *library) Close() error { return nil }

func (l *library) CreateTopic(topic string, partitions int, configs map[string]string) error {
	asking := l.asking()
	defer asking.end()
	config := kafka.TopicConfig{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1}
	for name, value := range configs {
		config.ConfigEntries = append(config.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	answer, err := asking.CreateTopics(asking.ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{config}})
	if err != nil {
		return err
	}
	return answer.Errors[topic]
}

// Topics by a connection, as the library's own documentation lists them.
func (l *library) Topics() (map[string]int, error) {
	connection, err := kafka.Dial("tcp", l.brokers[0])
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	partitions, err := connection.ReadPartitions()
	topics := map[string]int{}
	for _, one := range partitions {
		topics[one.Topic]++
	}
	return topics, err
}

func (l *library) AddPartitions(topic string, total int) error {
	asking := l.asking()
	defer asking.end()
	answer, err := asking.CreatePartitions(asking.ctx, &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: int32(total)}},
	})
	if err != nil {
		return err
	}
	return answer.Errors[topic]
}

func (l *library) DeleteTopic(topic string) error {
	asking := l.asking()
	defer asking.end()
	answer, err := asking.DeleteTopics(asking.ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err != nil {
		return err
	}
	return answer.Errors[topic]
}

func (l *library) DeleteRecords(string, map[int32]int64) error { return errNone }

func (l *library) Config(topic string) (map[string]string, error) {
	asking := l.asking()
	defer asking.end()
	answer, err := asking.DescribeConfigs(asking.ctx, &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic}},
	})
	if err != nil {
		return nil, err
	}
	configs := map[string]string{}
	for _, one := range answer.Resources[0].ConfigEntries {
		configs[one.ConfigName] = one.ConfigValue
	}
	return configs, answer.Resources[0].Error
}

func (l *library) SetConfig(topic, name, value string) error {
	asking := l.asking()
	defer asking.end()
	change := kafka.IncrementalAlterConfigsRequestConfig{
		Name: name, Value: value, ConfigOperation: kafka.ConfigOperationSet,
	}
	answer, err := asking.IncrementalAlterConfigs(asking.ctx, &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{
			ResourceType: kafka.ResourceTypeTopic,
			ResourceName: topic,
			Configs:      []kafka.IncrementalAlterConfigsRequestConfig{change},
		}},
	})
	if err != nil {
		return err
	}
	return answer.Resources[0].Error
}

func (l *library) Ends(topic string, partitions []int32) (map[int32]int64, error) {
	return l.ends(topic, partitions, kafka.ReadUncommitted)
}

func (l *library) ends(topic string, partitions []int32, isolation kafka.IsolationLevel) (map[int32]int64, error) {
	ends := map[int32]int64{}
	err := l.offsets(topic, partitions, kafka.LastOffset, isolation, func(one kafka.PartitionOffsets) {
		ends[int32(one.Partition)] = one.LastOffset
	})
	return ends, err
}

// offsets asks for those at a time, or kafka.LastOffset, and gives each partition's answer.
func (l *library) offsets(
	topic string, partitions []int32, at int64, isolation kafka.IsolationLevel, given func(kafka.PartitionOffsets),
) error {
	asking := l.asking()
	defer asking.end()
	asked := []kafka.OffsetRequest{}
	for _, one := range partitions {
		asked = append(asked, kafka.OffsetRequest{Partition: int(one), Timestamp: at})
	}
	answer, err := asking.ListOffsets(asking.ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{topic: asked}, IsolationLevel: isolation,
	})
	if err != nil {
		return err
	}
	for _, one := range answer.Topics[topic] {
		if one.Error != nil {
			return one.Error
		}
		given(one)
	}
	return nil
}

func (l *library) Committed(group, topic string, partitions []int32) (map[int32]*int64, error) {
	asking := l.asking()
	defer asking.end()
	asked := []int{}
	for _, one := range partitions {
		asked = append(asked, int(one))
	}
	answer, err := asking.OffsetFetch(asking.ctx, &kafka.OffsetFetchRequest{
		GroupID: group, Topics: map[string][]int{topic: asked},
	})
	if err == nil {
		err = answer.Error
	}
	if err != nil {
		return nil, err
	}
	committed := map[int32]*int64{}
	for _, one := range answer.Topics[topic] {
		if one.Error != nil {
			return nil, one.Error
		}
		committed[int32(one.Partition)] = nil
		if one.CommittedOffset >= 0 {
			committed[int32(one.Partition)] = &one.CommittedOffset
		}
	}
	return committed, nil
}

func (l *library) Groups() ([]string, error) {
	asking := l.asking()
	defer asking.end()
	answer, err := asking.ListGroups(asking.ctx, &kafka.ListGroupsRequest{})
	if err != nil {
		return nil, err
	}
	groups := []string{}
	for _, one := range answer.Groups {
		groups = append(groups, one.GroupID)
	}
	return groups, answer.Error
}

func (l *library) Group(group string) (string, int, error) {
	asking := l.asking()
	defer asking.end()
	answer, err := asking.DescribeGroups(asking.ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return "", 0, err
	}
	return answer.Groups[0].GroupState, len(answer.Groups[0].Members), answer.Groups[0].Error
}

func (l *library) DeleteGroup(group string) error {
	asking := l.asking()
	defer asking.end()
	answer, err := asking.DeleteGroups(asking.ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return err
	}
	return answer.Errors[group]
}
