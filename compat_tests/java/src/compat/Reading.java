package compat;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collection;
import java.util.Deque;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** A reader of mode client, without a group. */
final class Reading implements Calls.Opened {
    private static final long TAKES_AT_MOST_NS = 100_000_000_000L;

    private final KafkaConsumer<byte[], byte[]> consumer;
    private final String topic;
    private final List<TopicPartition> partitions;
    private final Deque<ConsumerRecord<byte[], byte[]>> polled = new ArrayDeque<>(); // more than was asked for

    Reading(String bootstrap, JsonObject values) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("enable.auto.commit", "false");
        settings.put("auto.offset.reset", "none");
        settings.put("isolation.level", values.get("isolation").getAsString());
        settings.put("reconnect.backoff.max.ms", "500");
        settings.put("key.deserializer", ByteArrayDeserializer.class.getName());
        settings.put("value.deserializer", ByteArrayDeserializer.class.getName());
        topic = values.get("topic").getAsString();
        partitions = Calls.partitions(topic, values);
        consumer = new KafkaConsumer<>(settings);
        consumer.assign(partitions);
    }

    @Override
    public Object call(String name, JsonObject values) {
        switch (name) {
            case "take":
                return take(values.get("count").getAsInt());
            case "pause":
                consumer.pause(Calls.partitions(topic, values));
                return null;
            case "resume":
                consumer.resume(Calls.partitions(topic, values));
                return null;
            case "seek":
                return seek(Calls.offsets(topic, values.get("offsets")));
            case "seek_beginning":
                return seek(consumer.beginningOffsets(partitions));
            case "seek_end":
                return seek(consumer.endOffsets(partitions));
            case "seek_time":
                return seekTime(values.get("timestamp_ms").getAsLong());
            default:
                throw new IllegalArgumentException("no call " + name);
        }
    }

    @Override
    public void close() {
        consumer.close();
    }

    private Object seek(Map<TopicPartition, Long> offsets) {
        polled.clear();
        offsets.forEach((one, offset) -> consumer.seek(one, offset));
        return null;
    }

    private Map<Integer, Long> seekTime(long timestampMs) {
        Map<TopicPartition, Long> asked = new LinkedHashMap<>();
        partitions.forEach(one -> asked.put(one, timestampMs));
        Map<TopicPartition, OffsetAndTimestamp> found = consumer.offsetsForTimes(asked);
        Map<TopicPartition, Long> to = new LinkedHashMap<>(consumer.endOffsets(partitions));
        Map<Integer, Long> answer = new LinkedHashMap<>();
        for (TopicPartition one : partitions) {
            OffsetAndTimestamp hit = found.get(one);
            answer.put(one.partition(), hit == null ? null : (Long) hit.offset());
            if (hit != null) {
                to.put(one, hit.offset());
            }
        }
        seek(to);
        return answer;
    }

    private Collection<Object> take(int count) {
        Deque<Object> taken = new ArrayDeque<>();
        long deadline = System.nanoTime() + TAKES_AT_MOST_NS;
        while (taken.size() < count && System.nanoTime() < deadline) {
            Iterator<ConsumerRecord<byte[], byte[]>> left = polled.iterator();
            while (left.hasNext() && taken.size() < count) {
                ConsumerRecord<byte[], byte[]> one = left.next();
                if (!consumer.paused().contains(new TopicPartition(one.topic(), one.partition()))) {
                    taken.add(told(one));
                    left.remove();
                }
            }
            if (taken.size() < count) {
                consumer.poll(Duration.ofMillis(500)).forEach(polled::add);
            }
        }
        return taken;
    }

    private static List<Object> told(ConsumerRecord<byte[], byte[]> one) {
        JsonArray headers = new JsonArray();
        for (Header header : one.headers()) {
            JsonArray pair = new JsonArray();
            pair.add(header.key());
            pair.add(text(header.value()));
            headers.add(pair);
        }
        return Arrays.asList(
                one.partition(), one.offset(), one.timestamp(), text(one.key()), text(one.value()), headers);
    }

    private static String text(byte[] value) {
        return value == null ? null : Base64.getEncoder().encodeToString(value);
    }
}
