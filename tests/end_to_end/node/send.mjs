// Sends one stage run with a model request and a failed tool call: node send.mjs grpc|http/protobuf|http/json ENDPOINT
import { context, SpanStatusCode, trace } from "@opentelemetry/api";
import { OTLPTraceExporter as GrpcExporter } from "@opentelemetry/exporter-trace-otlp-grpc";
import { OTLPTraceExporter as JsonExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as ProtobufExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BasicTracerProvider, BatchSpanProcessor } from "@opentelemetry/sdk-trace-base";

const [protocol, endpoint] = process.argv.slice(2);
const exporters = {
  grpc: () => new GrpcExporter({ url: endpoint }),
  "http/protobuf": () => new ProtobufExporter({ url: `${endpoint}/v1/traces` }),
  "http/json": () => new JsonExporter({ url: `${endpoint}/v1/traces` }),
};
const provider = new BasicTracerProvider({
  resource: resourceFromAttributes({ "service.name": `node-${protocol}`, project: "node", stage: "coding", agent: "codex" }),
  spanProcessors: [new BatchSpanProcessor(exporters[protocol]())],
});
const tracer = provider.getTracer("node-sender");
const begin = Date.now() - 60_000;
const root = tracer.startSpan("invoke_agent coder", { startTime: begin, attributes: { "gen_ai.operation.name": "invoke_agent" } });
const inside = trace.setSpan(context.active(), root);
const chat = { "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-5", note: "naïve – 你好 🚀" };
tracer.startSpan("chat gpt-5", { startTime: begin, attributes: chat }, inside).end(begin + 20_000);
const tool = { "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "shell", "error.type": "ShellError" };
const failed = tracer.startSpan("execute_tool shell", { startTime: begin, attributes: tool }, inside);
failed.setStatus({ code: SpanStatusCode.ERROR, message: "exit 1" });
failed.end(begin + 30_000);
root.end(begin + 45_000);
await provider.forceFlush();
await provider.shutdown();
console.log(root.spanContext().traceId);
