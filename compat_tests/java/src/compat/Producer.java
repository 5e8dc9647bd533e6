package compat;

import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringSerializer;

/** Sends --count records, value = their number, to --partitions in turn; tells where each one went. */
final class Producer {
    static void run(Driver.Flags flags, Events events) throws InterruptedException, ExecutionException {
        int count = Integer.parseInt(flags.get("count"));
        int partitions = Integer.parseInt(flags.get("partitions"));
        List<String> told = new ArrayList<>();
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings(flags))) {
            List<Future<RecordMetadata>> acks = new ArrayList<>();
            for (int number = 0; number < count; number++) {
                String value = Integer.toString(number);
                acks.add(producer.send(new ProducerRecord<>(flags.get("topic"), number % partitions, null, value)));
            }
            for (int number = 0; number < count; number++) {
                RecordMetadata ack = acks.get(number).get();
                told.add("[" + ack.partition() + ", " + ack.offset() + ", \"" + number + "\"]");
            }
        }
        events.emit("sent", Events.list(told));
    }

    static Properties settings(Driver.Flags flags) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", flags.get("bootstrap"));
        settings.put("compression.type", flags.get("codec", "none"));
        settings.put("reconnect.backoff.max.ms", "500");
        settings.put("key.serializer", StringSerializer.class.getName());
        settings.put("value.serializer", StringSerializer.class.getName());
        if (flags.has("transactional-id")) {
            settings.put("transactional.id", flags.get("transactional-id"));
            settings.put("transaction.timeout.ms", flags.get("transaction-timeout-ms", "60000"));
        }
        return settings;
    }
}
