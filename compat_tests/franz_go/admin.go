package main

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const missing = "missing"

// adminStory tells the story of calls of compat_tests/admin: events `step` [step, methods called, answer], then `methods`.
type adminStory struct {
	ctx    context.Context
	client *kadm.Client
	events *events
}

func admin(f flags, e *events) error {
	connection, err := kgo.NewClient(kgo.SeedBrokers(f.Bootstrap), kgo.RetryTimeout(20*time.Second))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute) // the test gives five
	defer cancel()
	story := &adminStory{ctx, kadm.NewClient(connection), e}
	story.topics()
	story.configs()
	story.records()
	story.groups()
	story.transactions()
	story.cluster()
	story.notBuilt()
	story.tell("SetTimeoutMillis", "SetTimeoutMillis", int32(1000))
	story.tell("Close", "Close")
	e.Emit("methods", publicMethods(story.client))
	return nil
}

// tell calls a method by its name; the context comes first where the method wants one.
func (s *adminStory) tell(step, method string, arguments ...any) []reflect.Value {
	call := reflect.ValueOf(s.client).MethodByName(method)
	given := []reflect.Value{}
	if call.Type().NumIn() > 0 && call.Type().In(0) == reflect.TypeFor[context.Context]() {
		given = append(given, reflect.ValueOf(s.ctx))
	}
	for _, argument := range arguments {
		if argument == nil {
			given = append(given, reflect.Zero(call.Type().In(len(given))))
		} else {
			given = append(given, reflect.ValueOf(argument))
		}
	}
	results := call.Call(given)
	answer := []any{}
	for _, result := range results {
		answer = append(answer, facts(result))
	}
	s.events.Emit("step", []any{step, []string{method}, answer})
	return results
}

func topicsSet(topic string, partitions ...int32) kadm.TopicsSet {
	set := kadm.TopicsSet{}
	set.Add(topic, partitions...)
	return set
}

func offsetsOf(topic string, partition int32, at int64) kadm.Offsets {
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: at, LeaderEpoch: -1, Metadata: "moved"})
	return offsets
}

func set(name, value string) []kadm.AlterConfig {
	return []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}}
}

func (s *adminStory) topics() {
	retention := map[string]*string{"retention.ms": kadm.StringPtr("100000")}
	wrong := map[string]*string{"retention.ms": kadm.StringPtr("soon")}
	s.tell("create a topic", "CreateTopic", int32(2), int16(1), retention, "single")
	s.tell("create a topic again", "CreateTopic", int32(2), int16(1), retention, "single")
	s.tell("create topics", "CreateTopics", int32(3), int16(-1), retention, "made", "scene", "bad/name")
	s.tell("create topics: three replicas", "CreateTopics", int32(1), int16(3), retention, "three")
	s.tell("create topics: wrong config", "CreateTopics", int32(1), int16(1), wrong, "wrong")
	s.tell("validate topics", "ValidateCreateTopics", int32(3), int16(-1), retention, "checked", "scene", "bad/name")
	s.tell("list topics", "ListTopics")
	s.tell("list some topics", "ListTopics", "made", missing)
	s.tell("list topics, internal too", "ListTopicsWithInternal", "__consumer_offsets", "bad/name")
	s.tell("metadata", "Metadata", "made", missing)
	s.tell("metadata of brokers", "BrokerMetadata")
	s.tell("list brokers", "ListBrokers")
	s.tell("add partitions", "CreatePartitions", 2, "made", missing)
	s.tell("add no partitions", "CreatePartitions", 0, "made")
	s.tell("set partitions", "UpdatePartitions", 4, "single", "made", missing)
	s.tell("validate added partitions", "ValidateCreatePartitions", 2, "made", missing)
	s.tell("validate set partitions", "ValidateUpdatePartitions", 9, "single", "made", missing)
	s.tell("delete a topic", "DeleteTopic", "single")
	s.tell("delete a topic again", "DeleteTopic", "single")
	s.tell("delete topics", "DeleteTopics", missing, "bad/name")
}

func (s *adminStory) configs() {
	s.tell("describe configs of topics", "DescribeTopicConfigs", "made", missing)
	s.tell("describe configs of a broker", "DescribeBrokerConfigs", int32(1))
	s.tell("describe configs of all brokers", "DescribeBrokerConfigs")
	s.tell("alter configs of topics", "AlterTopicConfigs", set("segment.bytes", "1048577"), "made", missing)
	s.tell("alter to a wrong value", "AlterTopicConfigs", set("segment.bytes", "x"), "made")
	s.tell("alter an unknown config", "AlterTopicConfigs", set("no.such", "x"), "made")
	s.tell("append to a list", "AlterTopicConfigs",
		[]kadm.AlterConfig{{Op: kadm.AppendConfig, Name: "cleanup.policy", Value: kadm.StringPtr("compact")}}, "made")
	s.tell("validate configs of topics", "ValidateAlterTopicConfigs", set("segment.bytes", "1048578"), "made", missing)
	s.tell("validate a wrong value", "ValidateAlterTopicConfigs", set("segment.bytes", "x"), "made")
	s.tell("configs after altering", "DescribeTopicConfigs", "made")
	s.tell("set the whole state of topics", "AlterTopicConfigsState", set("retention.bytes", "1000"), "made", missing)
	s.tell("validate the whole state of topics", "ValidateAlterTopicConfigsState", set("retention.bytes", "x"), "made")
	s.tell("configs after setting the state", "DescribeTopicConfigs", "made")
	s.tell("validate configs of a broker", "ValidateAlterBrokerConfigs", set("log.cleaner.threads", "x"), int32(1))
	s.tell("alter configs of a broker", "AlterBrokerConfigs", set("log.cleaner.threads", "2"), int32(1))
	s.tell("alter configs of all brokers", "AlterBrokerConfigs", set("log.retention.ms", "7000000"))
	s.tell("alter a config that needs a restart", "AlterBrokerConfigs", set("broker.id", "2"), int32(1))
	for s.ctx.Err() == nil { // metadata follow the answer
		if found, err := s.client.DescribeBrokerConfigs(s.ctx); err == nil && slices.ContainsFunc(found[0].Configs,
			func(config kadm.Config) bool { return config.Key == "log.retention.ms" }) {
			break
		}
	}
	s.tell("configs of all brokers after altering", "DescribeBrokerConfigs")
	s.tell("validate the whole state of a broker", "ValidateAlterBrokerConfigsState", set("log.cleaner.threads", "x"), int32(1))
	s.tell("set the whole state of all brokers", "AlterBrokerConfigsState", set("log.retention.ms", "8000000"))
	s.tell("configs of all brokers after setting the state", "DescribeBrokerConfigs")
	s.tell("list config resources", "ListConfigResources", kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker)
}

func (s *adminStory) records() {
	s.tell("start offsets", "ListStartOffsets", "scene", missing)
	s.tell("end offsets", "ListEndOffsets", "scene", missing)
	s.tell("committed offsets", "ListCommittedOffsets", "scene")
	s.tell("offsets of the greatest timestamps", "ListMaxTimestampOffsets", "scene")
	s.tell("local start offsets", "ListLocalLogStartOffsets", "scene")
	s.tell("remote offsets", "ListLatestRemoteOffsets", "scene")
	s.tell("offsets after a time", "ListOffsetsAfterMilli", int64(1_700_000_000_002), "scene")
	s.tell("offsets after all times", "ListOffsetsAfterMilli", int64(1_900_000_000_000), "scene")
	epochs := kadm.OffsetForLeaderEpochRequest{}
	epochs.Add("scene", 0, 0)
	epochs.Add("scene", 1, 5)
	epochs.Add(missing, 0, 0)
	s.tell("offsets of leader epochs", "OffsetForLeaderEpoch", epochs)
	s.tell("offsets of leader epochs, as it was once spelt", "OffetForLeaderEpoch", epochs)
	s.tell("delete records", "DeleteRecords", offsetsOf("scene", 0, 2))
	s.tell("delete records past the end", "DeleteRecords", offsetsOf("scene", 0, 1000))
	s.tell("delete records of no topic", "DeleteRecords", offsetsOf(missing, 0, 1))
	s.tell("log dirs of all", "DescribeAllLogDirs", nil)
	s.tell("log dirs of a broker", "DescribeBrokerLogDirs", int32(1), topicsSet("scene", 0))
	move := kadm.AlterReplicaLogDirsReq{}
	move.Add("/no/such/dir", topicsSet("scene", 0))
	s.tell("move replicas of all", "AlterAllReplicaLogDirs", move)
	s.tell("move replicas of a broker", "AlterBrokerReplicaLogDirs", int32(1), move)
}

func (s *adminStory) groups() {
	all := []any{"readers", "classic-live", "consumer-live", missing}
	s.tell("list groups", "ListGroups")
	s.tell("list stable groups", "ListGroups", "Stable")
	s.tell("list groups of a type", "ListGroupsByType", []string{"consumer"}, "Stable")
	s.tell("describe groups", "DescribeGroups", all...)
	s.tell("describe consumer groups", "DescribeConsumerGroups", all...)
	s.tell("lag", "Lag", "readers", missing)
	s.tell("find coordinators of groups", "FindGroupCoordinators", "readers", "")
	s.tell("fetch offsets", "FetchOffsets", "readers")
	s.tell("fetch offsets of no group", "FetchOffsets", missing)
	s.tell("fetch offsets for topics", "FetchOffsetsForTopics", "readers", "scene", missing)
	s.tell("fetch offsets of many", "FetchManyOffsets", "readers", missing)
	s.tell("fetch offsets by id", "FetchOffsetsByID", "readers")
	s.tell("commit offsets", "CommitOffsets", "readers", offsetsOf("scene", 0, 4))
	s.tell("commit offsets of a group with members", "CommitOffsets", "classic-live", offsetsOf("scene", 0, 4))
	s.tell("commit offsets of no topic", "CommitOffsets", "readers", offsetsOf(missing, 0, 4))
	s.tell("commit all offsets", "CommitAllOffsets", "readers", offsetsOf("scene", 0, 5))
	s.tell("commit all offsets of a consumer group", "CommitAllOffsets", "consumer-live", offsetsOf("scene", 0, 5))
	byID := kadm.OffsetsByID{}
	if details, err := s.client.ListTopics(s.ctx, "scene"); err == nil {
		byID.Add(kadm.Offset{TopicID: details["scene"].ID, Topic: "scene", Partition: 0, At: 6, LeaderEpoch: -1})
	}
	s.tell("commit offsets by id", "CommitOffsetsByID", "readers", byID)
	s.tell("commit all offsets by id", "CommitAllOffsetsByID", "readers", byID)
	s.tell("offsets after commits", "FetchOffsets", "readers")
	s.tell("delete offsets", "DeleteOffsets", "readers", topicsSet("scene", 1))
	s.tell("delete offsets of no group", "DeleteOffsets", missing, topicsSet("scene", 1))
	s.tell("delete offsets that a member reads", "DeleteOffsets", "classic-live", topicsSet("scene", 1))
	s.tell("remove a member", "LeaveGroup", kadm.LeaveGroup("classic-live").Reason("story").InstanceIDs("nobody"))
	s.tell("remove members of no group", "LeaveGroup", kadm.LeaveGroup(missing).InstanceIDs("nobody"))
	s.tell("delete a group", "DeleteGroup", "readers")
	s.tell("delete a group again", "DeleteGroup", "readers")
	s.tell("delete groups", "DeleteGroups", "classic-live", "consumer-live", missing)
}

func (s *adminStory) transactions() {
	s.tell("find coordinators of transactions", "FindTxnCoordinators", "txn-done", "txn-missing")
	s.tell("list transactions", "ListTransactions", []int64{}, []string{})
	s.tell("list transactions, filtered", "ListTransactions", []int64{}, []string{"Ongoing", "NoSuchState"})
	s.tell("list transactions of a pattern", "ListTransactionsByTxPattern", []int64{}, []string{}, "txn-d.*")
	s.tell("list transactions of no pattern", "ListTransactionsByTxPattern", []int64{}, []string{}, "(")
	s.tell("describe transactions", "DescribeTransactions", "txn-done", "txn-open", "txn-missing")
	s.tell("describe producers", "DescribeProducers", topicsSet("scene", 0, 1))
	s.tell("describe producers of no topic", "DescribeProducers", topicsSet(missing, 0))
	marker := kadm.TxnMarkers{ProducerID: 987, Topics: topicsSet("scene", 0)}
	s.tell("write markers", "WriteTxnMarkers", marker)
	if open, err := s.client.DescribeProducers(s.ctx, topicsSet("scene", 1)); err == nil {
		for _, producer := range open.SortedProducers() {
			marker = kadm.TxnMarkers{ProducerID: producer.ProducerID, ProducerEpoch: producer.ProducerEpoch,
				CoordinatorEpoch: producer.CoordinatorEpoch, Topics: topicsSet("scene", 1)}
			if producer.CurrentTxnStartOffset >= 0 {
				s.tell("write markers of an open transaction", "WriteTxnMarkers", marker)
			}
		}
	}
	s.tell("committed offsets after all", "ListCommittedOffsets", "scene")
}

func (s *adminStory) cluster() {
	s.tell("API versions", "ApiVersions")
	s.tell("elect preferred leaders", "ElectLeaders", kadm.ElectPreferredReplica, topicsSet("scene", 0))
	s.tell("elect leaders of no topic", "ElectLeaders", kadm.ElectPreferredReplica, topicsSet(missing, 0))
	s.tell("elect live leaders", "ElectLeaders", kadm.ElectLiveReplica, topicsSet("scene", 0))
	assign := kadm.AlterPartitionAssignmentsReq{}
	assign.Assign("scene", 0, []int32{1})
	assign.Assign("scene", 1, []int32{77})
	assign.CancelAssign("made", 0)
	s.tell("assign partitions", "AlterPartitionAssignments", assign)
	s.tell("list reassignments", "ListPartitionReassignments", nil)
	s.tell("list reassignments of no topic", "ListPartitionReassignments", topicsSet(missing, 0))
	ann := kadm.ClientQuotaEntity{{Type: "user", Name: kadm.StringPtr("ann")}}
	good := []kadm.AlterClientQuotaEntry{{Entity: ann, Ops: []kadm.AlterClientQuotaOp{{Key: "producer_byte_rate", Value: 1.5e6}}}}
	bad := []kadm.AlterClientQuotaEntry{{Entity: ann, Ops: []kadm.AlterClientQuotaOp{{Key: "no_such_rate", Value: 1}}}}
	s.tell("validate quotas", "ValidateAlterClientQuotas", good)
	s.tell("validate wrong quotas", "ValidateAlterClientQuotas", bad)
	s.tell("alter quotas", "AlterClientQuotas", good)
	all := []kadm.DescribeClientQuotaComponent{{Type: "user", MatchType: kmsg.QuotasMatchTypeAny}}
	for found := (kadm.DescribedClientQuotas{}); len(found) == 0 && s.ctx.Err() == nil; { // metadata follow the answer
		found, _ = s.client.DescribeClientQuotas(s.ctx, false, all)
	}
	s.tell("describe quotas", "DescribeClientQuotas", false, all)
	s.tell("describe quotas of an unknown kind", "DescribeClientQuotas", false, []kadm.DescribeClientQuotaComponent{
		{Type: "planet", MatchType: kmsg.QuotasMatchTypeAny}})
	s.tell("update features", "UpdateFeatures", false, kadm.FeatureUpdate{Feature: "no.such.feature", MaxVersionLevel: 2, UpgradeType: 1})
	s.tell("update features, validate only", "UpdateFeatures", true,
		kadm.FeatureUpdate{Feature: "transaction.version", MaxVersionLevel: 1, UpgradeType: 2})
}

// notBuilt calls what Ottla says that it does not know: share groups, SCRAM, ACLs, tokens.
func (s *adminStory) notBuilt() {
	s.tell("find share coordinators", "FindShareCoordinators", missing)
	s.tell("describe share groups", "DescribeShareGroups", missing)
	s.tell("offsets of share groups", "DescribeShareGroupOffsets", missing)
	s.tell("alter offsets of a share group", "AlterShareGroupOffsets", missing, offsetsOf("scene", 0, 1))
	s.tell("delete offsets of a share group", "DeleteShareGroupOffsets", missing, "scene")
	s.tell("describe SCRAM users", "DescribeUserSCRAMs")
	s.tell("alter SCRAM users", "AlterUserSCRAMs", []kadm.DeleteSCRAM{{User: "ann", Mechanism: kadm.ScramSha256}}, nil)
	acls := kadm.NewACLs().Topics("scene").Allow("User:ann").AllowHosts("*").Operations(kadm.OpRead)
	s.tell("create ACLs", "CreateACLs", acls)
	s.tell("describe ACLs", "DescribeACLs", acls)
	s.tell("delete ACLs", "DeleteACLs", acls)
	s.tell("create a delegation token", "CreateDelegationToken", kadm.CreateDelegationToken{})
	s.tell("describe delegation tokens", "DescribeDelegationTokens")
	s.tell("renew a delegation token", "RenewDelegationToken", []byte{1}, time.Hour)
	s.tell("expire a delegation token", "ExpireDelegationToken", []byte{1}, time.Hour)
}
