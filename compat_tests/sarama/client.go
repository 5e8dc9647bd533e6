package main

import (
	"maps"
	"slices"

	"github.com/IBM/sarama"

	"ottla.compat/driving"
)

// library is Sarama in mode client: its admin client, and what makes senders and readers.
type library struct {
	brokers []string
	client  sarama.Client
	admin   sarama.ClusterAdmin
}

func open(f driving.Flags) (driving.Client, error) {
	client, err := sarama.NewClient(f.Brokers(), settings())
	if err != nil {
		return nil, err
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		client.Close()
		return nil, err
	}
	return &library{f.Brokers(), client, admin}, nil
}

func (l *library) Version() string { return driving.VersionOf("github.com/IBM/sarama") }

func (l *library) Close() error { return l.admin.Close() }

func (l *library) CreateTopic(topic string, partitions int, configs map[string]string) error {
	given := map[string]*string{}
	for name, value := range configs {
		given[name] = &value
	}
	detail := &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: 1, ConfigEntries: given}
	return l.admin.CreateTopic(topic, detail, false)
}

func (l *library) Topics() (map[string]int, error) {
	listed, err := l.admin.ListTopics()
	topics := map[string]int{}
	for topic, one := range listed {
		topics[topic] = int(one.NumPartitions)
	}
	return topics, err
}

func (l *library) AddPartitions(topic string, total int) error {
	return l.admin.CreatePartitions(topic, int32(total), nil, false)
}

func (l *library) DeleteTopic(topic string) error { return l.admin.DeleteTopic(topic) }

func (l *library) DeleteRecords(topic string, before map[int32]int64) error {
	return l.admin.DeleteRecords(topic, before)
}

func (l *library) Config(topic string) (map[string]string, error) {
	entries, err := l.admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic})
	configs := map[string]string{}
	for _, one := range entries {
		configs[one.Name] = one.Value
	}
	return configs, err
}

func (l *library) SetConfig(topic, name, value string) error {
	change := sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}
	return l.admin.IncrementalAlterConfig(
		sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{name: change}, false)
}

func (l *library) Ends(topic string, partitions []int32) (map[int32]int64, error) {
	ends := map[int32]int64{}
	for _, one := range partitions {
		end, err := l.client.GetOffset(topic, one, sarama.OffsetNewest)
		if err != nil {
			return nil, err
		}
		ends[one] = end
	}
	return ends, nil
}

func (l *library) Committed(group, topic string, partitions []int32) (map[int32]*int64, error) {
	answer, err := l.admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: partitions})
	if err != nil {
		return nil, err
	}
	committed := map[int32]*int64{}
	for _, one := range partitions {
		block := answer.GetBlock(topic, one)
		if block.Err != sarama.ErrNoError {
			return nil, block.Err
		}
		committed[one] = nil
		if block.Offset >= 0 {
			committed[one] = &block.Offset
		}
	}
	return committed, nil
}

func (l *library) Groups() ([]string, error) {
	listed, err := l.admin.ListConsumerGroups()
	return slices.Sorted(maps.Keys(listed)), err
}

func (l *library) Group(group string) (string, int, error) {
	described, err := l.admin.DescribeConsumerGroups([]string{group})
	if err != nil {
		return "", 0, err
	}
	if described[0].Err != sarama.ErrNoError {
		return "", 0, described[0].Err
	}
	return described[0].State, len(described[0].Members), nil
}

func (l *library) DeleteGroup(group string) error { return l.admin.DeleteConsumerGroup(group) }
