package compat;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * The steps of compat_tests/transactions/driver.py: a transactional producer and its consumer, a step a line.
 *
 * <p>A command is words: {@code send TOPIC PARTITION VALUE ...}, {@code take TIMEOUT_MS}, {@code read TOPIC
 * ISOLATION END PARTITION ...}, init, begin, offsets, commit, abort. The event that answers is done with a value, or
 * error with [name, may be aborted, not usable any more].
 */
final class Steps implements AutoCloseable {
    private static final Duration STEP_TIMEOUT = Duration.ofSeconds(60);

    private final Driver.Flags flags;
    private KafkaProducer<String, String> producer;
    private KafkaConsumer<String, String> consumer;

    private Steps(Driver.Flags flags) {
        this.flags = flags;
    }

    static void run(Driver.Flags flags, Events events) throws InterruptedException {
        try (Steps steps = new Steps(flags)) {
            for (String[] command = events.command(); command != null; command = events.command()) {
                try {
                    events.emit("done", steps.obey(command));
                } catch (ExecutionException refused) {
                    events.emit("error", error((Exception) refused.getCause()));
                } catch (KafkaException | IllegalStateException refused) {
                    events.emit("error", error(refused));
                }
            }
        }
    }

    private String obey(String[] words) throws InterruptedException, ExecutionException {
        switch (words[0]) {
            case "init" -> producer().initTransactions();
            case "begin" -> producer().beginTransaction();
            case "send" -> {
                return send(words);
            }
            case "take" -> {
                return take(Duration.ofMillis(Long.parseLong(words[1])));
            }
            case "offsets" -> offsets();
            case "commit" -> producer().commitTransaction();
            case "abort" -> producer().abortTransaction();
            case "read" -> {
                return read(words);
            }
            default -> throw new IllegalArgumentException("no command " + words[0]);
        }
        return "null";
    }

    private String send(String[] words) throws InterruptedException, ExecutionException {
        List<Future<RecordMetadata>> acks = new ArrayList<>();
        for (int at = 1; at < words.length; at += 3) {
            int partition = Integer.parseInt(words[at + 1]);
            acks.add(producer().send(new ProducerRecord<>(words[at], partition, null, words[at + 2])));
        }
        producer().flush();
        List<Long> offsets = new ArrayList<>();
        for (Future<RecordMetadata> ack : acks) {
            offsets.add(ack.get().offset());
        }
        return Events.list(offsets);
    }

    private String take(Duration timeout) {
        long deadline = System.nanoTime() + timeout.toNanos();
        List<String> told = new ArrayList<>();
        while (told.isEmpty() && System.nanoTime() < deadline) {
            for (ConsumerRecord<String, String> one : consumer().poll(Duration.ofMillis(100))) {
                told.add(text(one));
            }
        }
        return Events.list(told);
    }

    private void offsets() {
        Map<TopicPartition, OffsetAndMetadata> positions = new HashMap<>();
        for (TopicPartition partition : consumer().assignment()) {
            positions.put(partition, new OffsetAndMetadata(consumer().position(partition)));
        }
        producer().sendOffsetsToTransaction(positions, consumer().groupMetadata());
    }

    private String read(String[] words) {
        List<TopicPartition> partitions = new ArrayList<>();
        for (int at = 4; at < words.length; at++) {
            partitions.add(new TopicPartition(words[1], Integer.parseInt(words[at])));
        }
        Properties settings = consumerSettings();
        settings.put("isolation.level", words[2]);
        List<String> told = new ArrayList<>();
        Set<TopicPartition> open = new HashSet<>(partitions);
        long deadline = System.nanoTime() + STEP_TIMEOUT.toNanos();
        try (KafkaConsumer<String, String> reader = new KafkaConsumer<>(settings)) {
            reader.assign(partitions);
            reader.seekToBeginning(partitions);
            while (!open.isEmpty()) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("no end of " + open);
                }
                ConsumerRecords<String, String> records = reader.poll(Duration.ofMillis(100));
                for (ConsumerRecord<String, String> one : records) {
                    told.add(text(one));
                    if (one.value().equals(words[3])) {
                        open.remove(new TopicPartition(one.topic(), one.partition()));
                    }
                }
            }
        }
        return Events.list(told);
    }

    private KafkaProducer<String, String> producer() {
        if (producer == null) {
            Properties settings = Producer.settings(flags);
            settings.put("max.block.ms", String.valueOf(STEP_TIMEOUT.toMillis()));
            settings.put("delivery.timeout.ms", String.valueOf(STEP_TIMEOUT.toMillis()));
            settings.put("request.timeout.ms", "10000");
            producer = new KafkaProducer<>(settings);
        }
        return producer;
    }

    private KafkaConsumer<String, String> consumer() {
        if (consumer == null) {
            Properties settings = consumerSettings();
            settings.put("group.id", flags.get("group"));
            settings.put("isolation.level", "read_committed");
            settings.put("max.poll.records", flags.get("batch"));
            settings.put("session.timeout.ms", flags.get("session-timeout-ms"));
            settings.put("heartbeat.interval.ms", flags.get("heartbeat-interval-ms"));
            consumer = new KafkaConsumer<>(settings);
            consumer.subscribe(List.of(flags.get("topic")));
        }
        return consumer;
    }

    private Properties consumerSettings() {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", flags.get("bootstrap"));
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        settings.put("reconnect.backoff.max.ms", "500");
        settings.put("key.deserializer", StringDeserializer.class.getName());
        settings.put("value.deserializer", StringDeserializer.class.getName());
        return settings;
    }

    /** What the producer's manual says to do: a fenced one is finished, any other Kafka error may be aborted. */
    private static String error(Exception refused) {
        boolean fatal = refused instanceof IllegalStateException;
        Throwable named = refused;
        for (Throwable cause = refused; cause != null; cause = cause.getCause()) {
            if (cause instanceof ProducerFencedException || cause instanceof InvalidProducerEpochException) {
                fatal = true;
                named = cause;
            }
        }
        String name = named.getClass().getSimpleName().replace("Exception", "");
        return Events.list(List.of(Events.text(name), !fatal, fatal));
    }

    private static String text(ConsumerRecord<String, String> one) {
        return "[" + one.partition() + ", " + one.offset() + ", " + Events.text(one.value()) + "]";
    }

    @Override
    public void close() {
        if (consumer != null) {
            consumer.close();
        }
        if (producer != null) {
            producer.close(Duration.ofSeconds(5));
        }
    }
}
