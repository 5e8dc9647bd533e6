package compat;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import java.util.zip.CRC32;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Partitioner;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.Cluster;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** A sender of mode client. */
final class Sending implements Calls.Opened {
    private final KafkaProducer<byte[], byte[]> producer;

    Sending(String bootstrap, JsonObject values) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("acks", "all");
        settings.put("linger.ms", "5");
        settings.put("max.request.size", "2000000");
        settings.put("reconnect.backoff.max.ms", "500");
        settings.put("enable.idempotence", values.get("idempotent").getAsString());
        settings.put("key.serializer", ByteArraySerializer.class.getName());
        settings.put("value.serializer", ByteArraySerializer.class.getName());
        if (Calls.text(values, "compression") != null) {
            settings.put("compression.type", Calls.text(values, "compression"));
        }
        if (Calls.text(values, "partitioner") != null) {
            settings.put("partitioner.class", ByCrc32.class.getName());
        }
        if (Calls.text(values, "transactional_id") != null) {
            settings.put("transactional.id", Calls.text(values, "transactional_id"));
        }
        if (values.has("request_timeout_ms")) {
            settings.put("request.timeout.ms", Calls.text(values, "request_timeout_ms"));
        }
        producer = new KafkaProducer<>(settings);
        if (settings.containsKey("transactional.id")) {
            producer.initTransactions();
        }
    }

    @Override
    public Object call(String name, JsonObject values) throws Exception {
        switch (name) {
            case "send":
                return send(values.get("topic").getAsString(), values.getAsJsonArray("records"));
            case "begin":
                producer.beginTransaction();
                return null;
            case "commit":
                producer.commitTransaction();
                return null;
            case "abort":
                producer.abortTransaction();
                return null;
            case "send_offsets":
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                Calls.offsets(values.get("topic").getAsString(), values.get("offsets"))
                        .forEach((one, offset) -> offsets.put(one, new OffsetAndMetadata(offset)));
                producer.sendOffsetsToTransaction(offsets, Own.metadata(values.get("group").getAsString()));
                return null;
            default:
                throw new IllegalArgumentException("no call " + name);
        }
    }

    @Override
    public void close() {
        producer.close();
    }

    /** The places, in the order given. */
    private List<long[]> send(String topic, JsonArray records) throws Exception {
        List<Future<RecordMetadata>> acks = new ArrayList<>();
        for (JsonElement one : records) {
            acks.add(producer.send(record(topic, one.getAsJsonArray())));
        }
        producer.flush();
        List<long[]> places = new ArrayList<>();
        for (Future<RecordMetadata> ack : acks) {
            places.add(new long[] {ack.get().partition(), ack.get().offset()});
        }
        return places;
    }

    private static ProducerRecord<byte[], byte[]> record(String topic, JsonArray record) {
        List<Header> headers = new ArrayList<>();
        for (JsonElement one : record.get(2).getAsJsonArray()) {
            JsonArray header = one.getAsJsonArray();
            headers.add(new RecordHeader(header.get(0).getAsString(), bytes(header.get(1))));
        }
        Integer partition = record.get(3).isJsonNull() ? null : (Integer) record.get(3).getAsInt();
        Long timestampMs = record.get(4).isJsonNull() ? null : (Long) record.get(4).getAsLong();
        return new ProducerRecord<>(topic, partition, timestampMs, bytes(record.get(1)), bytes(record.get(0)), headers);
    }

    private static byte[] bytes(JsonElement text) {
        return text.isJsonNull() ? null : Base64.getDecoder().decode(text.getAsString());
    }

    /** The partitioner crc32 of compat_tests/client.py. */
    public static final class ByCrc32 implements Partitioner {
        @Override
        public int partition(
                String topic, Object key, byte[] keyBytes, Object value, byte[] valueBytes, Cluster cluster) {
            CRC32 sum = new CRC32();
            sum.update(keyBytes == null ? new byte[0] : keyBytes);
            return (int) (sum.getValue() % cluster.partitionCountForTopic(topic));
        }

        @Override
        public void close() {}

        @Override
        public void configure(Map<String, ?> configs) {}
    }
}
