// As send_metrics.py: node send_metrics.mjs grpc|http/protobuf|http/json ENDPOINT INSTANCE ROUNDS [stay]
import { OTLPMetricExporter as GrpcExporter } from "@opentelemetry/exporter-metrics-otlp-grpc";
import { OTLPMetricExporter as JsonExporter } from "@opentelemetry/exporter-metrics-otlp-http";
import { OTLPMetricExporter as ProtobufExporter } from "@opentelemetry/exporter-metrics-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { AggregationType, MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";

const [protocol, endpoint, instance, rounds, stay] = process.argv.slice(2);
const exporters = {
  grpc: () => new GrpcExporter({ url: endpoint, timeoutMillis: 30_000 }),
  "http/protobuf": () => new ProtobufExporter({ url: `${endpoint}/v1/metrics`, timeoutMillis: 30_000 }),
  "http/json": () => new JsonExporter({ url: `${endpoint}/v1/metrics`, timeoutMillis: 30_000 }),
};
const reader = new PeriodicExportingMetricReader({ exporter: exporters[protocol](), exportIntervalMillis: 3_600_000 });
const provider = new MeterProvider({
  resource: resourceFromAttributes({ "service.name": "worker", "service.instance.id": instance, project: "sums" }),
  readers: [reader],
  views: [{ instrumentName: "work.size", aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM } }],
});
const meter = provider.getMeter("send_metrics", "1.0");
let done = 0;
const items = meter.createCounter("work.items", { unit: "{item}" });
const active = meter.createUpDownCounter("work.active");
const seconds = meter.createHistogram("work.duration", { unit: "s", advice: { explicitBucketBoundaries: [0.5, 1, 5] } });
const size = meter.createHistogram("work.size", { unit: "By" });
const level = meter.createGauge("work.level");
meter.createObservableCounter("work.cpu", { unit: "s" }).addCallback((result) => result.observe(10 * done));

for (done = 1; done <= Number(rounds); done++) {
  items.add(1, { kind: "small" });
  items.add(2, { kind: "large" });
  active.add(3);
  active.add(-1);
  seconds.record(0.25);
  seconds.record(2.5);
  size.record(3);
  size.record(1000);
  level.record(done, { worker: instance });
  await reader.forceFlush();
}
done = Number(rounds);
console.log("sent");
if (stay) await new Promise((resolve) => setTimeout(resolve, 3_600_000));
await provider.shutdown();
