package compat;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.time.Duration;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.MetricName;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.metrics.KafkaMetric;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/** The story of calls that compat_tests/admin tells: events `step` [step, methods called, answer], then `methods`. */
final class AdminStory {
    private static final Uuid UNKNOWN_ID = Uuid.fromString("AAAAAAAAAAAAAAAAAAAAAg");

    private final Admin admin;
    private final Events events;
    private final Set<String> called = new TreeSet<>();

    private AdminStory(Admin client, Events events) {
        this.events = events;
        this.admin = (Admin) Proxy.newProxyInstance(
                Admin.class.getClassLoader(), new Class<?>[] {Admin.class}, (proxy, method, arguments) -> {
                    called.add(method.getName());
                    try {
                        return method.invoke(client, arguments);
                    } catch (InvocationTargetException refused) {
                        throw refused.getCause();
                    }
                });
    }

    static void run(Driver.Flags flags, Events events) throws Exception {
        Map<String, Object> settings = Map.of(
                AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, flags.get("bootstrap"),
                AdminClientConfig.DEFAULT_API_TIMEOUT_MS_CONFIG, 60_000);
        try (Admin client = Admin.create(settings)) {
            AdminStory story = new AdminStory(client, events);
            story.topics();
            story.configs();
            story.records();
            story.groups();
            story.transactions();
            story.cluster();
            story.notBuilt();
            story.ownAffairs();
        }
        Set<String> methods = new TreeSet<>();
        for (Method method : Admin.class.getMethods()) {
            if (!java.lang.reflect.Modifier.isStatic(method.getModifiers())) {
                methods.add(method.getName());
            }
        }
        events.emit("methods", Facts.of(methods));
    }

    private interface Call {
        Object on(Admin admin) throws Exception;
    }

    private void tell(String step, Call call) throws InterruptedException {
        called.clear();
        String answer;
        try {
            answer = Facts.of(call.on(admin));
        } catch (InterruptedException stopped) {
            throw stopped;
        } catch (Exception refused) {
            answer = Facts.error(refused);
        }
        events.emit("step", "[" + Events.text(step) + ", " + Facts.of(called) + ", " + answer + "]");
    }

    private static TopicPartition tp(String topic, int partition) {
        return new TopicPartition(topic, partition);
    }

    private static ConfigResource resource(ConfigResource.Type type, String name) {
        return new ConfigResource(type, name);
    }

    private static Map<ConfigResource, Collection<AlterConfigOp>> alter(
            ConfigResource.Type type, String name, AlterConfigOp.OpType op, String key, String value) {
        return Map.of(resource(type, name), List.of(new AlterConfigOp(new ConfigEntry(key, value), op)));
    }

    private void topics() throws Exception {
        tell("create topics", a -> a.createTopics(List.of(
                new NewTopic("made", Optional.of(3), Optional.empty()).configs(Map.of("retention.ms", "100000")),
                new NewTopic("assigned", Map.of(0, List.of(1), 1, List.of(1))),
                new NewTopic("scene", 1, (short) 1),
                new NewTopic("bad/name", 1, (short) 1),
                new NewTopic("no-partitions", 0, (short) 1),
                new NewTopic("three-replicas", 1, (short) 3),
                new NewTopic("unknown-broker", Map.of(0, List.of(77))),
                new NewTopic("bad-config", 1, (short) 1).configs(Map.of("retention.ms", "soon")),
                new NewTopic("no-config", 1, (short) 1).configs(Map.of("no.such.config", "1")))));
        tell("create topics: answer's facts", a -> {
            CreateTopicsResult result = a.createTopics(List.of(new NewTopic("facts", 2, (short) 1)));
            return List.of(result.numPartitions("facts"), result.replicationFactor("facts"), result.config("facts"));
        });
        while (!admin.listTopics().names().get().contains("facts")) { // its metadata follows the answer
            Thread.onSpinWait();
        }
        tell("create topics, validate only", a -> a.createTopics(
                List.of(new NewTopic("checked", 2, (short) 1)), new CreateTopicsOptions().validateOnly(true)));
        tell("list topics", a -> a.listTopics());
        tell("list topics, internal too", a -> a.listTopics(new ListTopicsOptions().listInternal(true)).names());
        tell("describe topics", a -> a.describeTopics(List.of("made", "assigned", "missing", "bad/name")));
        tell("describe topics by unknown id", a -> a.describeTopics(TopicCollection.ofTopicIds(List.of(UNKNOWN_ID))));
        tell("create partitions", a -> a.createPartitions(Map.of(
                "made", NewPartitions.increaseTo(5),
                "assigned", NewPartitions.increaseTo(3, List.of(List.of(1))),
                "facts", NewPartitions.increaseTo(1),
                "scene", NewPartitions.increaseTo(3, List.of(List.of(77))),
                "missing", NewPartitions.increaseTo(2))));
        tell("create partitions, validate only", a -> a.createPartitions(
                Map.of("made", NewPartitions.increaseTo(9)), new CreatePartitionsOptions().validateOnly(true)));
        tell("delete topics", a -> a.deleteTopics(List.of("facts", "missing", "bad/name")));
        tell("delete topics by id", a -> {
            Uuid id = a.describeTopics(List.of("assigned")).allTopicNames().get().get("assigned").topicId();
            return List.of(
                    a.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all(),
                    a.deleteTopics(TopicCollection.ofTopicIds(List.of(UNKNOWN_ID))).all());
        });
    }

    private void configs() throws Exception {
        tell("describe configs of a topic", a -> a.describeConfigs(List.of(
                resource(ConfigResource.Type.TOPIC, "made"))).all());
        tell("describe configs of what is not", a -> a.describeConfigs(List.of(
                resource(ConfigResource.Type.TOPIC, "missing"),
                resource(ConfigResource.Type.TOPIC, "bad/name"),
                resource(ConfigResource.Type.BROKER, "77"),
                resource(ConfigResource.Type.BROKER, "one"))).values());
        tell("describe configs of a broker", a -> a.describeConfigs(List.of(
                resource(ConfigResource.Type.BROKER, "1"))).all());
        tell("describe configs of all brokers", a -> a.describeConfigs(List.of(
                resource(ConfigResource.Type.BROKER, ""))).all());
        tell("describe configs of a group", a -> a.describeConfigs(List.of(
                resource(ConfigResource.Type.GROUP, "readers"))).all());
        tell("describe configs of client metrics", a -> a.describeConfigs(List.of(
                resource(ConfigResource.Type.CLIENT_METRICS, "watch"))).all());
        tell("set a config of a topic", a -> a.incrementalAlterConfigs(alter(
                ConfigResource.Type.TOPIC, "made", AlterConfigOp.OpType.SET, "segment.bytes", "1048577")));
        tell("append to a config that is no list", a -> a.incrementalAlterConfigs(alter(
                ConfigResource.Type.TOPIC, "made", AlterConfigOp.OpType.APPEND, "segment.bytes", "2")).all());
        tell("append to a list", a -> a.incrementalAlterConfigs(alter(
                ConfigResource.Type.TOPIC, "made", AlterConfigOp.OpType.APPEND, "cleanup.policy", "compact")).all());
        tell("subtract from a list", a -> a.incrementalAlterConfigs(alter(
                ConfigResource.Type.TOPIC, "made", AlterConfigOp.OpType.SUBTRACT, "cleanup.policy", "delete")).all());
        tell("delete a config", a -> a.incrementalAlterConfigs(alter(
                ConfigResource.Type.TOPIC, "made", AlterConfigOp.OpType.DELETE, "retention.ms", "")).all());
        tell("set a wrong value", a -> a.incrementalAlterConfigs(alter(
                ConfigResource.Type.TOPIC, "made", AlterConfigOp.OpType.SET, "segment.bytes", "x")).all());
        tell("set an unknown config", a -> a.incrementalAlterConfigs(alter(
                ConfigResource.Type.TOPIC, "made", AlterConfigOp.OpType.SET, "no.such", "x")).all());
        tell("set a config of no topic", a -> a.incrementalAlterConfigs(alter(
                ConfigResource.Type.TOPIC, "missing", AlterConfigOp.OpType.SET, "segment.bytes", "1048577")).all());
        tell("set a config of all brokers", a -> a.incrementalAlterConfigs(alter(
                ConfigResource.Type.BROKER, "", AlterConfigOp.OpType.SET, "log.retention.ms", "7000000")).all());
        tell("set a config of a broker", a -> a.incrementalAlterConfigs(alter(
                ConfigResource.Type.BROKER, "1", AlterConfigOp.OpType.SET, "log.cleaner.threads", "2")).all());
        tell("set a config that needs a restart", a -> a.incrementalAlterConfigs(alter(
                ConfigResource.Type.BROKER, "1", AlterConfigOp.OpType.SET, "broker.id", "2")).all());
        tell("set a config of a group", a -> a.incrementalAlterConfigs(alter(
                ConfigResource.Type.GROUP, "readers", AlterConfigOp.OpType.SET, "consumer.session.timeout.ms", "46000")));
        tell("set a config of client metrics", a -> a.incrementalAlterConfigs(alter(
                ConfigResource.Type.CLIENT_METRICS, "watch", AlterConfigOp.OpType.SET, "interval.ms", "60000")));
        tell("set a level of a logger", a -> a.incrementalAlterConfigs(alter(
                ConfigResource.Type.BROKER_LOGGER, "1", AlterConfigOp.OpType.SET, "no.such.logger", "DEBUG")).all());
        ConfigResource watch = resource(ConfigResource.Type.CLIENT_METRICS, "watch");
        while (!admin.describeConfigs(List.of(watch)).all().get().get(watch).get("interval.ms").value().equals("60000")) {
            Thread.onSpinWait();
        }
        tell("configs that were set", a -> a.describeConfigs(List.of(
                resource(ConfigResource.Type.TOPIC, "made"),
                resource(ConfigResource.Type.BROKER, ""),
                resource(ConfigResource.Type.GROUP, "readers"),
                resource(ConfigResource.Type.CLIENT_METRICS, "watch"))).all());
        tell("list config resources", a -> a.listConfigResources().all());
        tell("list groups' and metrics' config resources", a -> a.listConfigResources(
                Set.of(ConfigResource.Type.GROUP, ConfigResource.Type.CLIENT_METRICS), new ListConfigResourcesOptions()));
        tell("list client metrics resources", Outdated::listClientMetricsResources);
    }

    private void records() throws Exception {
        tell("list offsets", a -> a.listOffsets(Map.of(
                tp("scene", 0), OffsetSpec.earliest(),
                tp("scene", 1), OffsetSpec.latest(),
                tp("missing", 0), OffsetSpec.latest())).partitionResult(tp("scene", 1)));
        tell("list offsets of each kind", a -> List.of(
                a.listOffsets(Map.of(tp("scene", 0), OffsetSpec.earliest())).all(),
                a.listOffsets(Map.of(tp("scene", 0), OffsetSpec.latest())).all(),
                a.listOffsets(Map.of(tp("scene", 0), OffsetSpec.maxTimestamp())).all(),
                a.listOffsets(Map.of(tp("scene", 0), OffsetSpec.forTimestamp(1_700_000_000_002L))).all(),
                a.listOffsets(Map.of(tp("scene", 0), OffsetSpec.forTimestamp(1_900_000_000_000L))).all(),
                a.listOffsets(Map.of(tp("scene", 0), OffsetSpec.earliestLocal())).all(),
                a.listOffsets(Map.of(tp("scene", 0), OffsetSpec.latestTiered())).all(),
                a.listOffsets(Map.of(tp("scene", 1), OffsetSpec.latest()),
                        new ListOffsetsOptions(IsolationLevel.READ_COMMITTED)).all()));
        tell("list offsets of no topic", a -> a.listOffsets(
                Map.of(tp("missing", 0), OffsetSpec.latest()), new ListOffsetsOptions().timeoutMs(2_000)).all());
        tell("delete records", a -> a.deleteRecords(Map.of(
                tp("scene", 0), RecordsToDelete.beforeOffset(2),
                tp("scene", 1), RecordsToDelete.beforeOffset(1_000))).lowWatermarks());
        tell("describe log dirs", a -> a.describeLogDirs(List.of(1)).allDescriptions());
        tell("describe replica log dirs", a -> a.describeReplicaLogDirs(List.of(
                new TopicPartitionReplica("scene", 0, 1), new TopicPartitionReplica("missing", 0, 1))));
        tell("alter replica log dirs", a -> a.alterReplicaLogDirs(Map.of(
                new TopicPartitionReplica("scene", 0, 1), "/no/such/dir",
                new TopicPartitionReplica("missing", 0, 1), "/no/such/dir")));
    }

    private void groups() throws Exception {
        List<String> all = List.of("readers", "classic-live", "consumer-live", "missing");
        tell("list groups", a -> a.listGroups().all());
        tell("list groups by type and state", a -> a.listGroups(new ListGroupsOptions()
                .withTypes(Set.of(GroupType.CONSUMER))
                .inGroupStates(Set.of(GroupState.STABLE))).all());
        tell("list consumer groups", Outdated::listConsumerGroups);
        tell("describe consumer groups", a -> a.describeConsumerGroups(all).describedGroups());
        tell("describe classic groups", a -> a.describeClassicGroups(all).describedGroups());
        tell("list offsets of groups", a -> List.of(
                a.listConsumerGroupOffsets("readers").partitionsToOffsetAndMetadata(),
                a.listConsumerGroupOffsets("missing").partitionsToOffsetAndMetadata(),
                a.listConsumerGroupOffsets(Map.of("readers", new ListConsumerGroupOffsetsSpec()
                        .topicPartitions(List.of(tp("scene", 0), tp("missing", 0))))).all()));
        Map<TopicPartition, OffsetAndMetadata> offsets = Map.of(tp("scene", 0), new OffsetAndMetadata(4, "moved"));
        tell("alter offsets of an empty group", a -> a.alterConsumerGroupOffsets("readers", offsets).all());
        tell("alter offsets of a group with members", a -> List.of(
                a.alterConsumerGroupOffsets("classic-live", offsets).all(),
                a.alterConsumerGroupOffsets("consumer-live", offsets).all()));
        tell("alter offsets of a partition that is not", a -> a.alterConsumerGroupOffsets(
                "readers", Map.of(tp("missing", 0), new OffsetAndMetadata(1))).all());
        tell("delete offsets", a -> a.deleteConsumerGroupOffsets("readers", Set.of(tp("scene", 1))).all());
        tell("delete offsets of who is not", a -> List.of(
                a.deleteConsumerGroupOffsets("missing", Set.of(tp("scene", 1))).all(),
                a.deleteConsumerGroupOffsets("readers", Set.of(tp("missing", 0))).all(),
                a.deleteConsumerGroupOffsets("classic-live", Set.of(tp("scene", 0))).all(),
                a.deleteConsumerGroupOffsets("consumer-live", Set.of(tp("scene", 0))).all()));
        tell("remove a member", a -> a.removeMembersFromConsumerGroup(
                "classic-live",
                new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("nobody")))).all());
        tell("remove members of no group", a -> a.removeMembersFromConsumerGroup(
                "missing", new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("nobody")))).all());
        tell("delete groups", a -> a.deleteConsumerGroups(all).deletedGroups());
    }

    /** Calls that are deprecated and yet public. */
    private static final class Outdated {
        @SuppressWarnings("removal")
        static Object listConsumerGroups(Admin admin) {
            return admin.listConsumerGroups().all();
        }

        @SuppressWarnings("removal")
        static Object listClientMetricsResources(Admin admin) {
            return admin.listClientMetricsResources().all();
        }
    }

    private void transactions() throws Exception {
        tell("list transactions", a -> a.listTransactions().all());
        tell("list transactions, filtered", a -> List.of(
                a.listTransactions(new ListTransactionsOptions().filterStates(Set.of(TransactionState.ONGOING))).all(),
                a.listTransactions(new ListTransactionsOptions().filterOnTransactionalIdPattern("txn-d.*")).all(),
                a.listTransactions(new ListTransactionsOptions().filterOnTransactionalIdPattern("(")).all(),
                a.listTransactions(new ListTransactionsOptions().filterProducerIds(Set.of(987L))).all()));
        tell("describe transactions", a -> List.of(
                a.describeTransactions(List.of("txn-done")).all(),
                a.describeTransactions(List.of("txn-open")).all(),
                a.describeTransactions(List.of("txn-missing")).all()));
        tell("describe producers", a -> List.of(
                a.describeProducers(List.of(tp("scene", 1))).all(),
                a.describeProducers(List.of(tp("scene", 0)), new DescribeProducersOptions().brokerId(1)).all()));
        tell("abort a transaction of another epoch", a -> {
            ProducerState open = open(a);
            return a.abortTransaction(new AbortTransactionSpec(
                    tp("scene", 1), open.producerId(), (short) (open.producerEpoch() + 5), 0)).all();
        });
        tell("abort a transaction", a -> {
            ProducerState open = open(a);
            return a.abortTransaction(new AbortTransactionSpec(
                    tp("scene", 1), open.producerId(), (short) open.producerEpoch(),
                    open.coordinatorEpoch().orElse(0))).all();
        });
        tell("abort a transaction of no producer", a -> a.abortTransaction(
                new AbortTransactionSpec(tp("scene", 0), 987, (short) 0, 0)).all());
        tell("terminate a transaction", a -> a.forceTerminateTransaction("txn-open"));
        tell("terminate a transaction that is not", a -> a.forceTerminateTransaction("txn-missing"));
        tell("fence producers", a -> {
            FenceProducersResult result = a.fenceProducers(List.of("txn-done"));
            return List.of(result.all(), result.epochId("txn-done"));
        });
        tell("describe transactions after all", a -> a.describeTransactions(List.of("txn-done", "txn-open")).all());
    }

    private static ProducerState open(Admin admin) throws Exception {
        return admin.describeProducers(List.of(tp("scene", 1))).all().get().get(tp("scene", 1)).activeProducers()
                .stream()
                .filter(producer -> producer.currentTransactionStartOffset().isPresent())
                .findFirst()
                .orElseThrow();
    }

    private void cluster() throws Exception {
        tell("describe cluster", a -> a.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true)));
        tell("describe features", a -> a.describeFeatures().featureMetadata());
        tell("describe metadata quorum", a -> a.describeMetadataQuorum().quorumInfo().get().voters().size());
        tell("update features", a -> a.updateFeatures(
                Map.of(
                        "no.such.feature", new FeatureUpdate((short) 2, FeatureUpdate.UpgradeType.UPGRADE)),
                new UpdateFeaturesOptions()).all());
        tell("update features, validate only", a -> a.updateFeatures(
                Map.of("transaction.version", new FeatureUpdate((short) 1, FeatureUpdate.UpgradeType.SAFE_DOWNGRADE)),
                new UpdateFeaturesOptions().validateOnly(true)));
        tell("unregister a broker that is not", a -> a.unregisterBroker(77));
        tell("elect preferred leaders", a -> a.electLeaders(
                ElectionType.PREFERRED, Set.of(tp("scene", 0), tp("missing", 0))).partitions());
        tell("elect unclean leaders", a -> a.electLeaders(ElectionType.UNCLEAN, Set.of(tp("scene", 0))).partitions());
        tell("elect leaders of all", a -> a.electLeaders(ElectionType.PREFERRED, null).partitions());
        tell("reassign partitions", a -> a.alterPartitionReassignments(Map.of(
                tp("scene", 0), Optional.of(new NewPartitionReassignment(List.of(1))),
                tp("scene", 1), Optional.of(new NewPartitionReassignment(List.of(77))),
                tp("made", 0), Optional.empty(),
                tp("missing", 0), Optional.of(new NewPartitionReassignment(List.of(1))))).values());
        tell("list reassignments", a -> List.of(
                a.listPartitionReassignments().reassignments(),
                a.listPartitionReassignments(Set.of(tp("scene", 0), tp("missing", 0))).reassignments()));
        ClientQuotaEntity ann = new ClientQuotaEntity(Map.of(ClientQuotaEntity.USER, "ann"));
        tell("alter client quotas", a -> List.of(
                a.alterClientQuotas(List.of(new ClientQuotaAlteration(
                        ann, List.of(new ClientQuotaAlteration.Op("producer_byte_rate", 1.5e6))))).all(),
                a.alterClientQuotas(List.of(new ClientQuotaAlteration(
                        ann, List.of(new ClientQuotaAlteration.Op("no_such_rate", 1.0))))).all(),
                a.alterClientQuotas(List.of(new ClientQuotaAlteration(
                        ann, List.of(new ClientQuotaAlteration.Op("consumer_byte_rate", -1.0))))).all()));
        tell("describe client quotas", a -> a.describeClientQuotas(ClientQuotaFilter.all()).entities());
    }

    /** Share and streams groups, SCRAM, ACLs, tokens, voters: where Ottla says that it does not know the request. */
    private void notBuilt() throws Exception {
        List<String> missing = List.of("missing");
        Map<TopicPartition, OffsetAndMetadata> offsets = Map.of(tp("scene", 0), new OffsetAndMetadata(1));
        tell("describe share groups", a -> a.describeShareGroups(missing).all());
        tell("list offsets of share groups",
                a -> a.listShareGroupOffsets(Map.of("missing", new ListShareGroupOffsetsSpec())).all());
        tell("alter offsets of a share group", a -> a.alterShareGroupOffsets("missing", Map.of(tp("scene", 0), 1L)).all());
        tell("delete offsets of a share group", a -> a.deleteShareGroupOffsets("missing", Set.of("scene")).all());
        tell("delete share groups", a -> a.deleteShareGroups(missing).all());
        tell("describe streams groups", a -> a.describeStreamsGroups(missing).all());
        tell("list offsets of streams groups",
                a -> a.listStreamsGroupOffsets(Map.of("missing", new ListStreamsGroupOffsetsSpec())).all());
        tell("alter offsets of a streams group", a -> a.alterStreamsGroupOffsets("streams", offsets).all());
        tell("delete offsets of a streams group",
                a -> a.deleteStreamsGroupOffsets("missing", Set.of(tp("scene", 0))).all());
        tell("delete streams groups", a -> a.deleteStreamsGroups(missing).all());
        tell("describe SCRAM users", a -> a.describeUserScramCredentials().all());
        tell("describe a SCRAM user that is not", a -> a.describeUserScramCredentials(missing).all());
        tell("alter SCRAM users", a -> a.alterUserScramCredentials(
                List.of(new UserScramCredentialDeletion("ann", ScramMechanism.SCRAM_SHA_256))).all());
        AclBinding binding = new AclBinding(
                new ResourcePattern(ResourceType.TOPIC, "scene", PatternType.LITERAL),
                new AccessControlEntry("User:ann", "*", AclOperation.READ, AclPermissionType.ALLOW));
        tell("describe ACLs", a -> a.describeAcls(AclBindingFilter.ANY).values());
        tell("create ACLs", a -> a.createAcls(List.of(binding)).all());
        tell("delete ACLs", a -> a.deleteAcls(List.of(binding.toFilter())).all());
        tell("create a delegation token", a -> a.createDelegationToken().delegationToken());
        tell("renew a delegation token", a -> a.renewDelegationToken(new byte[] {1}).expiryTimestamp());
        tell("expire a delegation token", a -> a.expireDelegationToken(new byte[] {1}).expiryTimestamp());
        tell("describe delegation tokens", a -> a.describeDelegationToken().delegationTokens());
        tell("add a raft voter", a -> a.addRaftVoter(
                2, UNKNOWN_ID, Set.of(new RaftVoterEndpoint("CONTROLLER", "127.0.0.1", 1))).all());
        tell("remove a raft voter", a -> a.removeRaftVoter(2, UNKNOWN_ID).all());
        tell("unregister a controller", a -> a.unregisterController(77).all());
    }

    /** What the client does for itself. */
    private void ownAffairs() throws Exception {
        tell("client instance id", a -> a.clientInstanceId(Duration.ofSeconds(30)).toString().isEmpty());
        tell("metrics", a -> !a.metrics().isEmpty());
        tell("subscribe to a metric", a -> {
            Map<MetricName, ? extends org.apache.kafka.common.Metric> metrics = a.metrics();
            KafkaMetric one = (KafkaMetric) metrics.values().iterator().next();
            a.registerMetricForSubscription(one);
            a.unregisterMetricFromSubscription(one);
            return null;
        });
        tell("close", a -> {
            a.close();
            return Arrays.asList();
        });
    }
}
