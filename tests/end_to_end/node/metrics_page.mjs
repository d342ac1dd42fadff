// Serves a page of prom-client, and says at which port: node metrics_page.mjs text|openmetrics
import { createServer } from "node:http";
import { Counter, Gauge, Histogram, Registry, Summary } from "prom-client";

const register = new Registry();
const openmetrics = process.argv[2] === "openmetrics";
if (openmetrics) register.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
const registers = [register];
const labelNames = ["route"];
const route = 'a"b\\c\nnaïve 你好';
new Counter({ name: "jobs_total", help: "Jobs done.", labelNames, registers }).inc({ route }, 7);
new Gauge({ name: "queue_length", help: "Waiting.", registers }).set(-1.5);
const histogram = new Histogram({ name: "wait_seconds", help: "How long.", labelNames, buckets: [0.5, 1, 2], registers, enableExemplars: openmetrics });
for (const value of [0.25, 0.75, 5]) {
  if (openmetrics) histogram.observe({ labels: { route }, value, exemplarLabels: { trace_id: "0af7651916cd43dd8448eb211c80319c" } });
  else histogram.observe({ route }, value);
}
const summary = new Summary({ name: "size_bytes", help: "How big.", labelNames, percentiles: [0.5, 0.9], registers });
for (const value of [1, 2, 3]) summary.observe({ route }, value);

const server = createServer(async (_request, response) => {
  response.setHeader("content-type", register.contentType);
  response.end(await register.metrics());
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
