package compat;

import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.errors.StaleMemberEpochException;
import org.apache.kafka.common.errors.UnknownMemberIdException;

/** What this version of kafka-clients has in its own way; java_2 has another Own for an older one. */
final class Own {
    /** The modes that only this version has. */
    static void run(String mode, Driver.Flags flags, Events events) throws Exception {
        switch (mode) {
            case "producer" -> Producer.run(flags, events);
            case "txn" -> Txn.run(flags, events);
            case "copy" -> Copy.run(flags, events);
            case "steps" -> Steps.run(flags, events);
            case "admin" -> AdminStory.run(flags, events);
            default -> throw new IllegalArgumentException("no mode " + mode);
        }
    }

    /** Whether a poll failed because the member was thought dead; the next one joins again. */
    static boolean saysExpelled(ApiException failure) {
        return failure instanceof UnknownMemberIdException || failure instanceof StaleMemberEpochException;
    }

    /** Subscribes to a pattern that the broker matches, RE2. */
    static void subscribe(
            KafkaConsumer<String, String> consumer, String pattern, ConsumerRebalanceListener listener) {
        consumer.subscribe(new SubscriptionPattern(pattern), listener);
    }

    /** The offsets after these records. */
    static Map<TopicPartition, OffsetAndMetadata> ends(ConsumerRecords<String, String> records) {
        return records.nextOffsets();
    }

    /** Of a group that this process is no member of. */
    @SuppressWarnings("removal")
    static ConsumerGroupMetadata metadata(String group) {
        return new ConsumerGroupMetadata(group);
    }

    static Map<String, Integer> topics(Admin admin) throws InterruptedException, ExecutionException {
        return admin.describeTopics(admin.listTopics().names().get()).allTopicNames().get().values().stream()
                .collect(Collectors.toMap(one -> one.name(), one -> one.partitions().size()));
    }

    static List<String> groups(Admin admin) throws InterruptedException, ExecutionException {
        return admin.listGroups().all().get().stream().map(GroupListing::groupId).toList();
    }

    /** State and number of members. */
    static Map.Entry<String, Integer> group(Admin admin, String group) throws InterruptedException, ExecutionException {
        ConsumerGroupDescription found = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
        return Map.entry(found.groupState().toString(), found.members().size());
    }

    private Own() {}
}
