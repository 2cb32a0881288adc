import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { AgentService } from "../../../src/gen/engram/api/v1/agent_pb.ts";
import { openEngine } from "../../support/engine-process.ts";

/** What a kill -9 with this many agents in mid-answer costs, in ms from the spawn of the next engine. */
export type Recovery = { readonly readyMs: number; readonly goingMs: number };

/** Kills the built binary while `agents` of its agents write, and starts it again until all of them write on. */
export async function measureRecovery(agents: number): Promise<Recovery> {
  const settings = { WORKER_CONCURRENCY: String(agents), LOG_LEVEL: "error" };
  await using engine = await openEngine({ ...settings, LOG_LEVEL: "info" });
  const create = () =>
    engine.client.createAgent({ goal: "Write 300 words.", model: "scripted:500" });
  for (let made = 0; made < agents; made += 100)
    await Promise.all(Array.from({ length: Math.min(100, agents - made) }, create));
  const working = async (): Promise<number> => {
    const transport = createGrpcTransport({ baseUrl: engine.url });
    const client = createClient(AgentService, transport);
    const page = await client.listAgents({ statusFilter: "processing", pageSize: 1000 });
    return page.agents.length;
  };
  while ((await working()) < agents) await Bun.sleep(20);
  await engine.kill();
  const startMs = performance.now();
  await engine.start({ ...settings, LOG_LEVEL: "info" });
  const readyMs = performance.now() - startMs;
  while ((await working()) < agents) await Bun.sleep(100);
  return { readyMs, goingMs: performance.now() - startMs };
}
