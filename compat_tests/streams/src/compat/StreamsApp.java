package compat;

import java.time.Duration;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.processor.StateRestoreListener;

/**
 * Two classics under exactly_once_v2: {@code StreamsApp BOOTSTRAP APPLICATION_ID STATE_DIR}.
 *
 * <p>Words of the topic lines are counted to the topic counts, each change of a count a record; records of left and
 * right with the same key and at most ten seconds between them are joined to the topic joined, {@code LEFT|RIGHT}.
 * Events are JSON lines on standard output: ["state", NAME], ["restored", [STORE, RECORDS]]; the end of standard input
 * is the request to stop cleanly.
 */
public final class StreamsApp {
    private static final Duration DAY = Duration.ofDays(1);

    public static void main(String[] arguments) throws Exception {
        KafkaStreams streams = new KafkaStreams(topology(), settings(arguments));
        streams.setStateListener((now, before) -> emit("state", "\"" + now + "\""));
        streams.setGlobalStateRestoreListener(new Restored());
        streams.setUncaughtExceptionHandler(
                failure -> {
                    failure.printStackTrace();
                    return StreamThreadExceptionResponse.REPLACE_THREAD;
                });
        streams.start();
        while (System.in.read() >= 0) {
            // until the test closes it
        }
        boolean closed = streams.close(Duration.ofSeconds(20));
        System.exit(closed ? 0 : 3);
    }

    private static Topology topology() {
        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream("lines")
                .flatMapValues(line -> List.of(line.split(" ")))
                .groupBy((key, word) -> word)
                .count(Materialized.as("word-counts"))
                .toStream()
                .mapValues(String::valueOf)
                .to("counts");
        KStream<String, String> right = builder.stream("right");
        builder.<String, String>stream("left")
                .join(
                        right,
                        (one, other) -> one + "|" + other,
                        JoinWindows.ofTimeDifferenceAndGrace(Duration.ofSeconds(10), DAY))
                .to("joined");
        return builder.build();
    }

    private static Properties settings(String[] arguments) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments[1]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, arguments[2]);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "500"); // long enough to be hit
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, "0"); // each change of a count is seen
        settings.put(StreamsConfig.consumerPrefix("session.timeout.ms"), "1500");
        settings.put(StreamsConfig.consumerPrefix("heartbeat.interval.ms"), "300");
        settings.put("auto.offset.reset", "earliest");
        settings.put("reconnect.backoff.max.ms", "500");
        return settings;
    }

    private static synchronized void emit(String name, String value) {
        System.out.println("[\"" + name + "\", " + value + "]");
    }

    private static final class Restored implements StateRestoreListener {
        @Override
        public void onRestoreStart(TopicPartition from, String store, long start, long end) {}

        @Override
        public void onBatchRestored(TopicPartition from, String store, long end, long count) {}

        @Override
        public void onRestoreEnd(TopicPartition from, String store, long count) {
            emit("restored", "[\"" + store + "\", " + count + "]");
        }
    }
}
