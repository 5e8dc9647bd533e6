package compat;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.serialization.StringDeserializer;

/** A member of a consumer group: polls, tells the records, commits them, again. */
final class Member {
    private static final Map<String, String> ASSIGNORS = Map.of(
            "range", "org.apache.kafka.clients.consumer.RangeAssignor",
            "roundrobin", "org.apache.kafka.clients.consumer.RoundRobinAssignor",
            "sticky", "org.apache.kafka.clients.consumer.StickyAssignor",
            "cooperative-sticky", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");

    static void run(Driver.Flags flags, Events events) throws InterruptedException {
        Map<TopicPartition, OffsetAndMetadata> due = new HashMap<>();
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings(flags))) {
            subscribe(consumer, flags, new Listener(events, due));
            while (!events.stopping()) {
                ConsumerRecords<String, String> records = poll(consumer, events);
                if (!records.isEmpty()) {
                    events.emitRecords(told(records));
                    due.putAll(Own.ends(records));
                }
                if (!due.isEmpty()) {
                    commit(consumer, due, records.isEmpty(), events);
                }
            }
        }
    }

    /** A KIP-848 member that was thought dead may be told so by a poll that fails; the next one joins again. */
    static ConsumerRecords<String, String> poll(KafkaConsumer<String, String> consumer, Events events) {
        try {
            return consumer.poll(Duration.ofMillis(100));
        } catch (ApiException failure) {
            if (!Own.saysExpelled(failure)) {
                throw failure;
            }
            events.emit("poll_failed", Events.text(failure.getClass().getSimpleName()));
            return ConsumerRecords.empty();
        }
    }

    static Properties settings(Driver.Flags flags) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", flags.get("bootstrap"));
        settings.put("group.id", flags.get("group"));
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        settings.put("isolation.level", flags.get("isolation", "read_uncommitted"));
        settings.put("max.poll.records", flags.get("batch", "50"));
        settings.put("reconnect.backoff.max.ms", "500");
        settings.put("metadata.recovery.strategy", "none"); // FINDINGS.md
        settings.put("key.deserializer", StringDeserializer.class.getName());
        settings.put("value.deserializer", StringDeserializer.class.getName());
        settings.put("group.protocol", flags.get("protocol", "classic"));
        if (flags.has("instance-id")) {
            settings.put("group.instance.id", flags.get("instance-id"));
        }
        if (flags.get("protocol", "classic").equals("consumer")) {
            if (flags.has("assignor")) {
                settings.put("group.remote.assignor", flags.get("assignor"));
            }
        } else { // with KIP-848 these are the broker's to set
            settings.put("session.timeout.ms", flags.get("session-timeout-ms", "6000"));
            settings.put("heartbeat.interval.ms", flags.get("heartbeat-interval-ms", "500"));
            settings.put("partition.assignment.strategy", ASSIGNORS.get(flags.get("assignor", "range")));
        }
        return settings;
    }

    static void subscribe(
            KafkaConsumer<String, String> consumer, Driver.Flags flags, ConsumerRebalanceListener listener) {
        if (!flags.has("pattern")) {
            consumer.subscribe(List.of(flags.get("topic")), listener);
        } else if (flags.get("protocol", "classic").equals("consumer")) { // matched by the broker, RE2
            Own.subscribe(consumer, flags.get("pattern"), listener);
        } else {
            consumer.subscribe(Pattern.compile(flags.get("pattern")), listener);
        }
    }

    static String told(ConsumerRecords<String, String> records) {
        List<String> told = new ArrayList<>();
        for (ConsumerRecord<String, String> one : records) {
            told.add("[" + one.partition() + ", " + one.offset() + ", " + Events.text(one.value()) + "]");
        }
        return Events.list(told);
    }

    /** What is refused stays due for as long as its partition is owned; it is told of once. */
    private static void commit(
            KafkaConsumer<String, String> consumer,
            Map<TopicPartition, OffsetAndMetadata> due,
            boolean again,
            Events events) {
        try {
            consumer.commitSync(due);
        } catch (KafkaException refused) {
            if (!again) {
                events.emit("commit_failed", Events.text(refused.getClass().getSimpleName()));
            }
            return;
        }
        Map<Integer, Long> committed = new TreeMap<>();
        due.forEach((partition, offset) -> committed.put(partition.partition(), offset.offset()));
        due.clear();
        events.emit("committed", Events.offsets(committed));
    }

    /** Tells each change of what is owned. due: what is to be committed, not of partitions that others have. */
    record Listener(Events events, Map<TopicPartition, OffsetAndMetadata> due) implements ConsumerRebalanceListener {
        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            events.emit("assigned", numbers(partitions));
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            due.keySet().removeAll(partitions);
            events.emit("revoked", numbers(partitions));
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> partitions) {
            due.keySet().removeAll(partitions);
            events.emit("lost", numbers(partitions));
        }

        private static String numbers(Collection<TopicPartition> partitions) {
            return Events.list(partitions.stream().map(TopicPartition::partition).sorted().toList());
        }
    }
}
