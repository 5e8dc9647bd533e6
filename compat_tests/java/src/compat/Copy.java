package compat;

import java.util.HashMap;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;

/** Exactly once: consumes --topic in a group, sends each value to --to, and commits both in one transaction. */
final class Copy {
    static void run(Driver.Flags flags, Events events) throws InterruptedException {
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(Member.settings(flags));
                KafkaProducer<String, String> producer = new KafkaProducer<>(Producer.settings(flags))) {
            producer.initTransactions();
            events.emit("ready", "null");
            Member.subscribe(consumer, flags, new Member.Listener(events, new HashMap<>()));
            while (!events.stopping()) {
                ConsumerRecords<String, String> records = Member.poll(consumer, events);
                if (!records.isEmpty()) {
                    copy(consumer, producer, records, flags.get("to"), events);
                }
            }
        }
    }

    private static void copy(
            KafkaConsumer<String, String> consumer,
            KafkaProducer<String, String> producer,
            ConsumerRecords<String, String> records,
            String to,
            Events events)
            throws InterruptedException {
        producer.beginTransaction();
        try {
            for (ConsumerRecord<String, String> one : records) {
                producer.send(new ProducerRecord<>(to, one.partition(), one.key(), one.value()));
            }
            events.emitRecords(Member.told(records));
            producer.sendOffsetsToTransaction(Own.ends(records), consumer.groupMetadata());
            producer.commitTransaction();
            events.emit("done", "null");
        } catch (ProducerFencedException | InvalidProducerEpochException fenced) {
            throw fenced; // another one has the transactional id: this process must end
        } catch (KafkaException refused) {
            events.emit("commit_failed", Events.text(refused.getClass().getSimpleName()));
            producer.abortTransaction();
            rewind(consumer);
        }
    }

    /** Back to what is committed, so that the aborted records are read again. */
    private static void rewind(KafkaConsumer<String, String> consumer) {
        for (TopicPartition partition : consumer.assignment()) {
            OffsetAndMetadata committed = consumer.committed(java.util.Set.of(partition)).get(partition);
            if (committed == null) {
                consumer.seekToBeginning(java.util.List.of(partition));
            } else {
                consumer.seek(partition, committed);
            }
        }
    }
}
