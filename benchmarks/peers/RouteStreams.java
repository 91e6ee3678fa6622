import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;

/** The route job in Kafka Streams, one thread, at-least-once, generic Avro records. */
public class RouteStreams {
    static final HttpClient HTTP = HttpClient.newHttpClient();
    static final String REGISTRY = System.getenv("REGISTRY");
    static final Path SCHEMAS = Path.of(System.getenv("SCHEMAS"));

    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "streams");
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("BOOTSTRAP"));
        settings.put(StreamsConfig.STATE_DIR_CONFIG, System.getenv("STATE"));
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        settings.put(StreamsConfig.producerPrefix("acks"), "all");
        settings.put(StreamsConfig.producerPrefix("linger.ms"), "5");
        settings.put(StreamsConfig.producerPrefix("compression.type"), "lz4");
        Encoder pickList = new Encoder("streams.warehouse-value", "PickList");
        Encoder invoice = new Encoder("streams.billing-value", "Invoice");
        Encoder activity = new Encoder("streams.crm-value", "Activity");
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream("bench.orders", Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()))
            .process(() -> new Route(pickList, invoice, activity))
            .to((key, routed, context) -> routed.topic, Produced.with(Serdes.ByteArray(), new RoutedSerde()));
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        CountDownLatch stopped = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close();
            stopped.countDown();
        }));
        streams.start();
        stopped.await();
    }

    record Routed(String topic, byte[] value) {}

    static class RoutedSerde extends Serdes.WrapperSerde<Routed> {
        RoutedSerde() {
            super((topic, routed) -> routed.value(), (topic, bytes) -> new Routed(topic, bytes));
        }
    }

    static class Route implements Processor<byte[], byte[], byte[], Routed> {
        private final Encoder pickList;
        private final Encoder invoice;
        private final Encoder activity;
        private final Decoder decoder = new Decoder();
        private ProcessorContext<byte[], Routed> context;

        Route(Encoder pickList, Encoder invoice, Encoder activity) {
            this.pickList = pickList;
            this.invoice = invoice;
            this.activity = activity;
        }

        @Override
        public void init(ProcessorContext<byte[], Routed> context) {
            this.context = context;
        }

        @Override
        public void process(Record<byte[], byte[]> event) {
            GenericRecord order = decoder.decode(event.value());
            String type = new String(event.headers().lastHeader("ce_type").value(), StandardCharsets.UTF_8);
            if (type.equals("order.paid")) {
                context.forward(event.withValue(pickList(order)));
                context.forward(event.withValue(invoice(order)));
            } else {
                context.forward(event.withValue(activity(order)));
            }
        }

        private Routed pickList(GenericRecord order) {
            List<Object> skus = new ArrayList<>();
            int pieces = 0;
            for (Object line : (List<?>) order.get("lines")) {
                skus.add(((GenericRecord) line).get("sku"));
                pieces += (Integer) ((GenericRecord) line).get("quantity");
            }
            GenericRecord to = new GenericData.Record(pickList.schema);
            GenericRecord address = (GenericRecord) order.get("ship_to");
            to.put("order_id", order.get("id"));
            to.put("skus", skus);
            to.put("pieces", pieces);
            to.put("city", address.get("city"));
            to.put("country", address.get("country"));
            return new Routed("streams.warehouse", pickList.encode(to));
        }

        private Routed invoice(GenericRecord order) {
            GenericRecord to = new GenericData.Record(invoice.schema);
            to.put("order_id", order.get("id"));
            to.put("customer", order.get("customer"));
            to.put("issued_at", order.get("placed_at"));
            to.put("currency", order.get("currency"));
            to.put("total_cents", order.get("total_cents"));
            to.put("country", ((GenericRecord) order.get("ship_to")).get("country"));
            return new Routed("streams.billing", invoice.encode(to));
        }

        private Routed activity(GenericRecord order) {
            GenericRecord to = new GenericData.Record(activity.schema);
            to.put("customer", order.get("customer"));
            to.put("order_id", order.get("id"));
            to.put("what", order.get("status"));
            to.put("at", order.get("placed_at"));
            to.put("total_cents", order.get("total_cents"));
            return new Routed("streams.crm", activity.encode(to));
        }
    }

    static class Decoder {
        private final Map<Integer, GenericDatumReader<GenericRecord>> readers = new ConcurrentHashMap<>();
        private BinaryDecoder reused;

        GenericRecord decode(byte[] value) {
            int id = ByteBuffer.wrap(value, 1, 4).getInt();
            reused = DecoderFactory.get().binaryDecoder(value, 5, value.length - 5, reused);
            try {
                return readers.computeIfAbsent(id, this::reader).read(null, reused);
            } catch (IOException error) {
                throw new IllegalStateException(error);
            }
        }

        private GenericDatumReader<GenericRecord> reader(int id) {
            String answer = ask(HttpRequest.newBuilder(URI.create(REGISTRY + "/schemas/ids/" + id)).build());
            String text = answer.substring(answer.indexOf(":\"") + 2, answer.lastIndexOf("}\"") + 1);
            return new GenericDatumReader<>(new Schema.Parser().parse(text.replace("\\\"", "\"")));
        }
    }

    static class Encoder {
        final Schema schema;
        private final GenericDatumWriter<GenericRecord> writer;
        private final byte[] prefix;
        private BinaryEncoder reused;

        Encoder(String subject, String name) throws IOException {
            schema = new Schema.Parser().parse(Files.readString(SCHEMAS.resolve(name + ".avsc")));
            writer = new GenericDatumWriter<>(schema);
            prefix = ByteBuffer.allocate(5).put((byte) 0).putInt(register(subject)).array();
        }

        byte[] encode(GenericRecord data) {
            ByteArrayOutputStream stream = new ByteArrayOutputStream(128);
            stream.writeBytes(prefix);
            reused = EncoderFactory.get().binaryEncoder(stream, reused);
            try {
                writer.write(data, reused);
                reused.flush();
            } catch (IOException error) {
                throw new IllegalStateException(error);
            }
            return stream.toByteArray();
        }

        private int register(String subject) {
            String body = "{\"schema\": \"" + schema.toString().replace("\"", "\\\"") + "\"}";
            Matcher id = Pattern.compile("\"id\":\\s*(\\d+)").matcher(ask(
                HttpRequest.newBuilder(URI.create(REGISTRY + "/subjects/" + subject + "/versions"))
                    .header("Content-Type", "application/vnd.schemaregistry.v1+json")
                    .POST(HttpRequest.BodyPublishers.ofString(body)).build()));
            if (!id.find()) {
                throw new IllegalStateException("the registry tells no id");
            }
            return Integer.parseInt(id.group(1));
        }
    }

    static String ask(HttpRequest request) {
        try {
            return HTTP.send(request, HttpResponse.BodyHandlers.ofString()).body();
        } catch (IOException | InterruptedException error) {
            throw new IllegalStateException(error);
        }
    }
}
