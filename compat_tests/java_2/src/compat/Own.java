package compat;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.ConsumerGroupListing;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.ApiException;

/** What kafka-clients 2.8 has in its own way; the rest is that of ../java, see sources.txt. */
final class Own {
    static void run(String mode, Driver.Flags flags, Events events) {
        throw new IllegalArgumentException("no mode " + mode);
    }

    /** Only the members of KIP-848 are told so by a poll. */
    static boolean saysExpelled(ApiException failure) {
        return false;
    }

    static void subscribe(
            KafkaConsumer<String, String> consumer, String pattern, ConsumerRebalanceListener listener) {
        throw new IllegalArgumentException("no pattern that the broker matches");
    }

    /** The offsets after these records. */
    static Map<TopicPartition, OffsetAndMetadata> ends(ConsumerRecords<String, String> records) {
        Map<TopicPartition, OffsetAndMetadata> ends = new HashMap<>();
        for (TopicPartition partition : records.partitions()) {
            List<ConsumerRecord<String, String>> batch = records.records(partition);
            ends.put(partition, new OffsetAndMetadata(batch.get(batch.size() - 1).offset() + 1));
        }
        return ends;
    }

    static ConsumerGroupMetadata metadata(String group) {
        return new ConsumerGroupMetadata(group);
    }

    static Map<String, Integer> topics(Admin admin) throws InterruptedException, ExecutionException {
        return admin.describeTopics(admin.listTopics().names().get()).all().get().values().stream()
                .collect(Collectors.toMap(one -> one.name(), one -> one.partitions().size()));
    }

    static List<String> groups(Admin admin) throws InterruptedException, ExecutionException {
        return admin.listConsumerGroups().all().get().stream().map(ConsumerGroupListing::groupId).toList();
    }

    /** State and number of members. */
    static Map.Entry<String, Integer> group(Admin admin, String group) throws InterruptedException, ExecutionException {
        ConsumerGroupDescription found = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
        return Map.entry(found.state().toString(), found.members().size());
    }

    private Own() {}
}
