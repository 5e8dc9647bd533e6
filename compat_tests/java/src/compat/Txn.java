package compat;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;

/** A transactional producer that does what it is told, a command at a time, and answers each with done or error. */
final class Txn {
    private final KafkaProducer<String, String> producer;
    private final List<Future<RecordMetadata>> unacknowledged = new ArrayList<>();

    private Txn(KafkaProducer<String, String> producer) {
        this.producer = producer;
    }

    static void run(Driver.Flags flags, Events events) throws InterruptedException {
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(Producer.settings(flags))) {
            Txn txn = new Txn(producer);
            for (String[] command = events.command(); command != null; command = events.command()) {
                try {
                    events.emit("done", txn.obey(command));
                } catch (ExecutionException refused) {
                    events.emit("error", Events.text(refused.getCause().getClass().getSimpleName()));
                } catch (KafkaException | IllegalStateException refused) {
                    events.emit("error", Events.text(refused.getClass().getSimpleName()));
                }
            }
        }
    }

    /** What `done` carries: the offset of a record sent with `send`, else null. */
    private String obey(String[] words) throws InterruptedException, ExecutionException {
        switch (words[0]) {
            case "init" -> producer.initTransactions();
            case "begin" -> producer.beginTransaction();
            case "send" -> { // TOPIC PARTITION VALUE, acknowledged before the answer
                return String.valueOf(send(words).get().offset());
            }
            case "queue" -> unacknowledged.add(send(words)); // the same, acknowledged by `flush` or the end
            case "flush" -> {
                producer.flush();
                for (Future<RecordMetadata> ack : unacknowledged) {
                    ack.get();
                }
                unacknowledged.clear();
            }
            case "offsets" -> // GROUP TOPIC PARTITION OFFSET
                producer.sendOffsetsToTransaction(
                        Map.of(
                                new TopicPartition(words[2], Integer.parseInt(words[3])),
                                new OffsetAndMetadata(Long.parseLong(words[4]))),
                        Own.metadata(words[1]));
            case "commit" -> producer.commitTransaction();
            case "abort" -> producer.abortTransaction();
            default -> throw new IllegalArgumentException("no command " + words[0]);
        }
        return "null";
    }

    private Future<RecordMetadata> send(String[] words) {
        return producer.send(new ProducerRecord<>(words[1], Integer.parseInt(words[2]), null, words[3]));
    }
}
