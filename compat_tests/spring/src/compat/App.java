package compat;

import com.google.gson.Gson;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.kafka.annotation.EnableKafka;
import org.springframework.kafka.annotation.KafkaListener;
import org.springframework.kafka.config.ConcurrentKafkaListenerContainerFactory;
import org.springframework.kafka.core.ConsumerFactory;
import org.springframework.kafka.core.DefaultKafkaConsumerFactory;
import org.springframework.kafka.core.DefaultKafkaProducerFactory;
import org.springframework.kafka.core.KafkaAdmin;
import org.springframework.kafka.core.KafkaTemplate;
import org.springframework.kafka.core.ProducerFactory;
import org.springframework.kafka.listener.ConsumerAwareRebalanceListener;
import org.springframework.kafka.listener.DeadLetterPublishingRecoverer;
import org.springframework.kafka.listener.DefaultAfterRollbackProcessor;
import org.springframework.kafka.listener.DefaultErrorHandler;
import org.springframework.kafka.transaction.KafkaTransactionManager;
import org.springframework.util.backoff.FixedBackOff;

/**
 * An application as Spring's guide has it: topics, a template, listeners that retry, a transactional copy.
 *
 * <p>{@code App HOST:PORT}. Events are JSON lines [name, value] on standard output: ready; assigned [topic, how
 * many partitions], of one consumer; took, dead and copied [partition, offset, value]; failed value; sent and not sent
 * prefix. Commands on standard input: {@code together TOPIC PREFIX COUNT yes|no} sends so many records in one
 * transaction of the template, which fails with no; the end of the input ends the application.
 */
@Configuration
@EnableKafka
public class App {
    private static final Gson GSON = new Gson();
    private static final int RETRIES = 2;
    private static String bootstrap;

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[0];
        try (AnnotationConfigApplicationContext context = new AnnotationConfigApplicationContext(App.class)) {
            @SuppressWarnings("unchecked")
            KafkaTemplate<String, String> template = context.getBean("transactional", KafkaTemplate.class);
            tell("ready", null);
            BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String line = input.readLine(); line != null; line = input.readLine()) {
                together(template, line.split(" "));
            }
        }
    }

    private static void together(KafkaTemplate<String, String> template, String[] words) {
        try {
            template.executeInTransaction(sending -> {
                for (int number = 0; number < Integer.parseInt(words[3]); number++) {
                    sending.send(words[1], words[2] + number);
                }
                if (words[4].equals("no")) {
                    throw new IllegalStateException("asked to fail");
                }
                return null;
            });
            tell("sent", words[2]);
        } catch (IllegalStateException asked) {
            tell("not sent", words[2]);
        }
    }

    private static synchronized void tell(String name, Object value) {
        System.out.println(GSON.toJson(new Object[] {name, value}));
        System.out.flush();
    }

    private static void tellOf(String name, ConsumerRecord<String, String> record) {
        tell(name, List.of(record.partition(), record.offset(), record.value()));
    }

    // ---- topics

    @Bean
    KafkaAdmin admin() {
        return new KafkaAdmin(Map.of("bootstrap.servers", bootstrap));
    }

    @Bean
    KafkaAdmin.NewTopics topics() {
        return new KafkaAdmin.NewTopics(
                new NewTopic("orders", 6, (short) 1),
                new NewTopic("orders.dead", 6, (short) 1),
                new NewTopic("from", 2, (short) 1),
                new NewTopic("to", 2, (short) 1));
    }

    // ---- producers

    private static Map<String, Object> producing() {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("reconnect.backoff.max.ms", 500);
        settings.put("key.serializer", StringSerializer.class);
        settings.put("value.serializer", StringSerializer.class);
        return settings;
    }

    @Bean
    ProducerFactory<String, String> transactionalProducers() {
        DefaultKafkaProducerFactory<String, String> factory = new DefaultKafkaProducerFactory<>(producing());
        factory.setTransactionIdPrefix("spring-");
        return factory;
    }

    @Bean
    KafkaTemplate<String, String> transactional(ProducerFactory<String, String> transactionalProducers) {
        return new KafkaTemplate<>(transactionalProducers);
    }

    // ---- listeners

    private static ConcurrentKafkaListenerContainerFactory<String, String> listening() {
        var factory = new ConcurrentKafkaListenerContainerFactory<String, String>();
        factory.setConsumerFactory(consumers());
        factory.getContainerProperties().setConsumerRebalanceListener(new Assigned());
        return factory;
    }

    /** A group is settled only some time after its application is ready. */
    private static class Assigned implements ConsumerAwareRebalanceListener {
        @Override
        public void onPartitionsAssigned(Consumer<?, ?> consumer, Collection<TopicPartition> partitions) {
            for (String topic : consumer.subscription()) {
                tell("assigned", List.of(topic, partitions.size()));
            }
        }
    }

    private static ConsumerFactory<String, String> consumers() {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("auto.offset.reset", "earliest");
        settings.put("isolation.level", "read_committed");
        settings.put("session.timeout.ms", 6000);
        settings.put("heartbeat.interval.ms", 500);
        settings.put("reconnect.backoff.max.ms", 500);
        settings.put("key.deserializer", StringDeserializer.class);
        settings.put("value.deserializer", StringDeserializer.class);
        return new DefaultKafkaConsumerFactory<>(settings);
    }

    @Bean
    ConcurrentKafkaListenerContainerFactory<String, String> retrying() {
        ConcurrentKafkaListenerContainerFactory<String, String> factory = listening();
        DeadLetterPublishingRecoverer dead = new DeadLetterPublishingRecoverer(
                new KafkaTemplate<>(new DefaultKafkaProducerFactory<String, String>(producing())),
                (record, failure) -> new TopicPartition(record.topic() + ".dead", record.partition()));
        factory.setCommonErrorHandler(new DefaultErrorHandler(dead, new FixedBackOff(10, RETRIES)));
        return factory;
    }

    @Bean
    ConcurrentKafkaListenerContainerFactory<String, String> copying(
            ProducerFactory<String, String> transactionalProducers) {
        ConcurrentKafkaListenerContainerFactory<String, String> factory = listening();
        factory.getContainerProperties().setKafkaAwareTransactionManager(
                new KafkaTransactionManager<>(transactionalProducers));
        factory.setAfterRollbackProcessor(
                new DefaultAfterRollbackProcessor<>(new FixedBackOff(10, FixedBackOff.UNLIMITED_ATTEMPTS)));
        return factory;
    }

    @Bean
    Listeners listeners(KafkaTemplate<String, String> transactional) {
        return new Listeners(transactional);
    }

    /** What the application does with records. */
    public static class Listeners {
        private final KafkaTemplate<String, String> template;
        private final Map<String, Integer> attempts = new HashMap<>();

        Listeners(KafkaTemplate<String, String> template) {
            this.template = template;
        }

        @KafkaListener(topics = "orders", groupId = "orders", concurrency = "3", containerFactory = "retrying")
        public void take(ConsumerRecord<String, String> record) {
            if (record.value().startsWith("poison")) {
                tell("failed", record.value());
                throw new IllegalArgumentException(record.value());
            }
            tellOf("took", record);
        }

        @KafkaListener(topics = "orders.dead", groupId = "undertaker", containerFactory = "retrying")
        public void bury(ConsumerRecord<String, String> record) {
            tellOf("dead", record);
        }

        /** Each record whose number ends with 7 fails after it was sent on, once. */
        @KafkaListener(topics = "from", groupId = "copiers", containerFactory = "copying")
        public void copy(ConsumerRecord<String, String> record) {
            template.send("to", record.partition(), null, record.value());
            if (record.value().endsWith("7") && attempts.merge(record.value(), 1, Integer::sum) == 1) {
                tell("failed", record.value());
                throw new IllegalArgumentException(record.value());
            }
            tellOf("copied", record);
        }
    }
}
