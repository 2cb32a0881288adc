import { readFileSync } from "node:fs";
import { connect } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { GetAgentRequestSchema } from "../../../src/gen/engram/api/v1/agent_pb.ts";
import { frameOf } from "../../../src/server/frames.ts";
import { type EngineProcess, openEngine } from "../../support/engine-process.ts";
import type { Report } from "../report.ts";
import { median, quantile } from "../samples.ts";
import { attacks } from "./attacks.ts";

const attacker = new URL("attacks.ts", import.meta.url).pathname;
const attackMs = 8_000;
const restMs = 6_000;
const betweenCallsMs = 10;
const pageBytes = 4_096;

/** What one attack does to the engine and to a client that behaves. */
type Harm = {
  readonly name: string;
  readonly p99Ms: number;
  readonly failed: number;
  readonly peakMib: number;
  readonly afterMib: number;
};

/** Peers that mean harm, two or a thousand connections of one kind at a time, and what others notice of them. */
export async function benchHostile(report: Report): Promise<void> {
  await using engine = await openEngine({ LOG_LEVEL: "info" });
  const calm = await watched(engine, null);
  const found: Harm[] = [];
  for (const name of Object.keys(attacks)) found.push(await watched(engine, name));
  report.table(
    ["attack", "p99 ms of others", "failed calls", "peak MiB", "MiB after"],
    [calm, ...found].map(({ name, p99Ms, failed, peakMib, afterMib }) => [
      name,
      p99Ms.toFixed(1),
      `${failed}`,
      peakMib.toFixed(0),
      afterMib.toFixed(0),
    ]),
  );
  report.line(
    `  a client that behaves calls every ${betweenCallsMs} ms; attacks last ${attackMs / 1000} s`,
  );
  report.goal({
    name: "calls of others that failed, all attacks",
    figure: found.reduce((sum, { failed }) => sum + failed, 0),
    atMost: 0,
    unit: "calls",
  });
  report.goal({
    name: "p99 of others under the worst attack, to calm",
    figure: Math.max(...found.map(({ p99Ms }) => p99Ms)) / calm.p99Ms,
    atMost: 5,
    unit: "x",
  });
  report.goal({
    name: "memory after all attacks, over that of the calm engine",
    figure: median(found.slice(-3).map(({ afterMib }) => afterMib)) - calm.afterMib,
    atMost: 100,
    unit: "MiB",
  });
}

async function watched(engine: EngineProcess, name: string | null): Promise<Harm> {
  const { port } = new URL(engine.url);
  const child = name === null ? null : Bun.spawn([process.execPath, attacker, name, port]);
  const samples: number[] = [];
  let failed = 0;
  let peakMib = 0;
  const endMs = performance.now() + attackMs;
  const session = connect(engine.url);
  session.on("error", () => {});
  while (performance.now() < endMs) {
    const startMs = performance.now();
    if (await call(session)) samples.push(performance.now() - startMs);
    else failed += 1;
    peakMib = Math.max(peakMib, rssMib(engine.pid));
    await Bun.sleep(betweenCallsMs);
  }
  session.destroy();
  child?.kill("SIGKILL");
  await child?.exited;
  await Bun.sleep(restMs);
  return {
    name: name ?? "none",
    p99Ms: quantile(samples, 0.99),
    failed,
    peakMib,
    afterMib: rssMib(engine.pid),
  };
}

const rssMib = (pid: number): number =>
  (Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * pageBytes) / 2 ** 20;

const question = frameOf(
  toBinary(GetAgentRequestSchema, create(GetAgentRequestSchema, { agentId: "nobody" })),
);

/** Whether an answer came: that there is no such agent. */
const call = (session: ReturnType<typeof connect>): Promise<boolean> =>
  new Promise((resolve) => {
    const stream = session.request({
      ":method": "POST",
      ":path": "/engram.api.v1.AgentService/GetAgent",
      "content-type": "application/grpc",
      te: "trailers",
    });
    let status: unknown = null;
    stream.once("response", (headers) => (status = headers["grpc-status"]));
    stream.once("error", () => resolve(false));
    stream.once("close", () => resolve(status === "5")).resume();
    stream.end(question);
  });
