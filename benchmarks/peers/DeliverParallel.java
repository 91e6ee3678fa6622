import java.util.List;
import java.util.Properties;

import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.ParallelConsumerOptions.ProcessingOrder;
import io.confluent.parallelconsumer.ParallelStreamProcessor;
import org.apache.hc.client5.http.classic.methods.HttpPost;
import org.apache.hc.client5.http.impl.classic.CloseableHttpClient;
import org.apache.hc.client5.http.impl.classic.HttpClients;
import org.apache.hc.client5.http.impl.io.PoolingHttpClientConnectionManagerBuilder;
import org.apache.hc.core5.http.ClassicHttpResponse;
import org.apache.hc.core5.http.ContentType;
import org.apache.hc.core5.http.io.entity.ByteArrayEntity;
import org.apache.hc.core5.http.io.entity.EntityUtils;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

/** The deliver job in Confluent's Parallel Consumer: order per key, its default retries (1 s). */
public class DeliverParallel {
    static final String API = System.getenv("API");

    public static void main(String[] arguments) {
        int calls = Integer.parseInt(System.getenv("CALLS"));
        ParallelStreamProcessor<String, byte[]> consumer = ParallelStreamProcessor.createEosStreamProcessor(
            ParallelConsumerOptions.<String, byte[]>builder()
                .ordering(ProcessingOrder.KEY)
                .maxConcurrency(calls)
                .consumer(new KafkaConsumer<>(settings()))
                .build());
        CloseableHttpClient client = client(calls);
        consumer.subscribe(List.of(System.getenv("TOPIC")));
        Runtime.getRuntime().addShutdownHook(new Thread(consumer::close));
        consumer.poll(context -> {
            try {
                client.execute(request(context.getSingleConsumerRecord()), DeliverParallel::check);
            } catch (java.io.IOException error) {
                throw new java.io.UncheckedIOException(error);
            }
        });
    }

    static Properties settings() {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", System.getenv("BOOTSTRAP"));
        settings.put("group.id", "parallel");
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        settings.put("key.deserializer", StringDeserializer.class);
        settings.put("value.deserializer", ByteArrayDeserializer.class);
        return settings;
    }

    static CloseableHttpClient client(int calls) {
        return HttpClients.custom()
            .disableAutomaticRetries()
            .setConnectionManager(PoolingHttpClientConnectionManagerBuilder.create()
                .setMaxConnTotal(calls)
                .setMaxConnPerRoute(calls)
                .build())
            .build();
    }

    static HttpPost request(ConsumerRecord<String, byte[]> event) {
        HttpPost post = new HttpPost(API);
        post.setHeader("Idempotency-Key", new String(event.headers().lastHeader("ce_id").value()));
        post.setHeader("traceparent", new String(event.headers().lastHeader("traceparent").value()));
        post.setEntity(new ByteArrayEntity(event.value(), ContentType.APPLICATION_JSON));
        return post;
    }

    static Void check(ClassicHttpResponse response) throws java.io.IOException {
        EntityUtils.consume(response.getEntity());
        if (response.getCode() >= 300) {
            throw new IllegalStateException("answered " + response.getCode());
        }
        return null;
    }
}
