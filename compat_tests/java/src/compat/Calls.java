package compat;

import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.protocol.Errors;

/** Mode client: each line is a call, carried out and answered (compat_tests/drivers.py); the admin calls are here. */
final class Calls implements AutoCloseable {
    private static final Gson GSON = new Gson().newBuilder().serializeNulls().create();

    private final String bootstrap;
    private final Admin admin;
    private final Map<Integer, Opened> opened = new HashMap<>();
    private int lastHandle;

    /** A sender or a reader. */
    interface Opened extends AutoCloseable {
        /** What the answer carries, as Gson writes it. */
        Object call(String name, JsonObject values) throws Exception;

        @Override
        void close();
    }

    private Calls(String bootstrap) {
        this.bootstrap = bootstrap;
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        this.admin = Admin.create(settings);
    }

    static void run(Driver.Flags flags, Events events) throws Exception {
        try (Calls calls = new Calls(flags.get("bootstrap"))) {
            for (String line = events.line(); line != null; line = events.line()) {
                JsonObject values = JsonParser.parseString(line).getAsJsonObject();
                try {
                    events.emit("done", GSON.toJson(calls.answer(values.get("do").getAsString(), values)));
                } catch (ExecutionException refused) {
                    events.emit("error", Events.text(name(refused.getCause())));
                } catch (RuntimeException refused) {
                    events.emit("error", Events.text(name(refused)));
                }
            }
        }
    }

    @Override
    public void close() {
        for (Opened one : opened.values()) {
            one.close();
        }
        admin.close();
    }

    /** The protocol's name of an error that a broker gave, or of what it was made into. */
    private static String name(Throwable failure) {
        for (Throwable one = failure; one != null; one = one.getCause()) {
            if (one instanceof ApiException) {
                return Errors.forException(one).name();
            }
        }
        failure.printStackTrace();
        return failure.toString();
    }

    private Object answer(String call, JsonObject values) throws Exception {
        if (values.has("handle") && !call.equals("close")) {
            return opened.get(values.get("handle").getAsInt()).call(call, values);
        }
        String topic = values.has("topic") ? values.get("topic").getAsString() : "";
        String group = values.has("group") ? values.get("group").getAsString() : "";
        switch (call) {
            case "version":
                return version();
            case "sender":
                return open(new Sending(bootstrap, values));
            case "reader":
                return open(new Reading(bootstrap, values));
            case "close":
                opened.remove(values.get("handle").getAsInt()).close();
                return null;
            case "create_topic":
                Map<String, String> configs = new HashMap<>();
                values.getAsJsonObject("configs").entrySet()
                        .forEach(one -> configs.put(one.getKey(), one.getValue().getAsString()));
                Optional<Integer> partitions = Optional.of(values.get("partitions").getAsInt());
                NewTopic created = new NewTopic(topic, partitions, Optional.empty()).configs(configs);
                return admin.createTopics(List.of(created)).all().get();
            case "topics":
                return Own.topics(admin);
            case "add_partitions":
                NewPartitions total = NewPartitions.increaseTo(values.get("total").getAsInt());
                return admin.createPartitions(Map.of(topic, total)).all().get();
            case "delete_topic":
                return admin.deleteTopics(List.of(topic)).all().get();
            case "delete_records":
                Map<TopicPartition, RecordsToDelete> before = new HashMap<>();
                offsets(topic, values.get("before"))
                        .forEach((one, offset) -> before.put(one, RecordsToDelete.beforeOffset(offset)));
                return admin.deleteRecords(before).all().get();
            case "config":
                return config(topic);
            case "set_config":
                AlterConfigOp set = new AlterConfigOp(
                        new ConfigEntry(values.get("name").getAsString(), values.get("value").getAsString()),
                        AlterConfigOp.OpType.SET);
                return admin.incrementalAlterConfigs(Map.of(resource(topic), List.of(set))).all().get();
            case "ends":
                Map<TopicPartition, OffsetSpec> asked = new HashMap<>();
                partitions(topic, values).forEach(one -> asked.put(one, OffsetSpec.latest()));
                Map<Integer, Long> ends = new HashMap<>();
                admin.listOffsets(asked).all().get().forEach((one, end) -> ends.put(one.partition(), end.offset()));
                return ends;
            case "committed":
                return committed(group, partitions(topic, values));
            case "groups":
                return Own.groups(admin);
            case "group":
                Map.Entry<String, Integer> found = Own.group(admin, group);
                return List.of(found.getKey(), found.getValue());
            case "delete_group":
                return admin.deleteConsumerGroups(List.of(group)).all().get();
            default:
                throw new IllegalArgumentException("no call " + call);
        }
    }

    /** What the jar of kafka-clients says of itself. */
    private static String version() throws IOException {
        Properties version = new Properties();
        try (InputStream said = Admin.class.getResourceAsStream("/kafka/kafka-version.properties")) {
            version.load(said);
        }
        return version.getProperty("version");
    }

    private int open(Opened one) {
        opened.put(++lastHandle, one);
        return lastHandle;
    }

    private Map<String, String> config(String topic) throws InterruptedException, ExecutionException {
        Map<String, String> config = new HashMap<>();
        admin.describeConfigs(List.of(resource(topic))).all().get().get(resource(topic)).entries()
                .forEach(entry -> config.put(entry.name(), entry.value()));
        return config;
    }

    private Map<Integer, Long> committed(String group, Collection<TopicPartition> partitions)
            throws InterruptedException, ExecutionException {
        Map<TopicPartition, OffsetAndMetadata> known =
                admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        Map<Integer, Long> committed = new LinkedHashMap<>();
        for (TopicPartition one : partitions) {
            OffsetAndMetadata offset = known.get(one);
            committed.put(one.partition(), offset == null ? null : (Long) offset.offset());
        }
        return committed;
    }

    private static ConfigResource resource(String topic) {
        return new ConfigResource(ConfigResource.Type.TOPIC, topic);
    }

    /** The partitions that a call names. */
    static List<TopicPartition> partitions(String topic, JsonObject values) {
        List<TopicPartition> partitions = new ArrayList<>();
        values.getAsJsonArray("partitions").forEach(one -> partitions.add(new TopicPartition(topic, one.getAsInt())));
        return partitions;
    }

    /** An object of offsets by partition. */
    static Map<TopicPartition, Long> offsets(String topic, JsonElement values) {
        Map<TopicPartition, Long> offsets = new HashMap<>();
        values.getAsJsonObject().entrySet().forEach(one ->
                offsets.put(new TopicPartition(topic, Integer.parseInt(one.getKey())), one.getValue().getAsLong()));
        return offsets;
    }

    /** Text of a call, or null. */
    static String text(JsonObject values, String name) {
        return values.get(name).isJsonNull() ? null : values.get(name).getAsString();
    }
}
