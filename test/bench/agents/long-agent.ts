import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AgentSpec } from "../../../src/agent/event.ts";
import { abilitiesUnknown } from "../../../src/agent/request.ts";
import { systemClock } from "../../../src/clock.ts";
import { type Engine, startEngine } from "../../../src/engine/engine.ts";
import type { Model } from "../../../src/llm/model.ts";
import { openSqliteStore } from "../../../src/store/sqlite/sqlite.ts";
import { startThread } from "../../../src/store/sqlite/worker.ts";
import type { Store } from "../../../src/store/store.ts";
import { plainConfig, plainSpec } from "../../support/events.ts";
import { makePlayedSandbox } from "../../support/played-sandbox.ts";

/** An engine on a folder, and when its model was last called. */
type Opened = { readonly engine: Engine; readonly store: Store; readonly calledMs: () => number };

/** An agent with turns of one message and one answer of 20 words, about 0.2 KB together, on a store of its own. */
export type LongAgent = {
  /** Ms from a message to the model's call, by an engine that has the agent in memory. */
  warmMs(): Promise<number>;
  /** The same by an engine that has just been started. */
  coldMs(): Promise<number>;
  /** Bytes of the database file for each turn, all of its indexes and the snapshot included. */
  bytesPerTurn(): number;
  close(): Promise<void>;
};

const answer = Array.from({ length: 20 }, (_, n) => `word${n}`).join(" ");
const question = "Please say twenty words about this, once more, and number ";
const spec: AgentSpec = { ...plainSpec, config: { ...plainConfig, waitForInput: true } };

function open(folder: string): Opened {
  const store = openSqliteStore(folder, { clock: systemClock, log: () => {}, startThread });
  let calledMs = 0;
  const model: Model = {
    async *call() {
      calledMs = performance.now();
      yield { kind: "text", text: answer };
      yield { kind: "done", usage: { promptTokens: 0, completionTokens: 0 } };
    },
    continuesPartial: () => Promise.resolve(false),
    abilities: () => Promise.resolve(abilitiesUnknown),
    bodyOf: (request) => JSON.stringify(request),
  };
  const parts = { store, model, sandbox: makePlayedSandbox(), clock: systemClock, log: () => {} };
  const settings = { concurrency: 8, leaseTtlMs: 10_000 };
  return { engine: startEngine({ ...parts, settings }, "bench"), store, calledMs: () => calledMs };
}

const shut = async ({ engine, store }: Opened): Promise<void> => {
  await engine.drain();
  await store.close();
};

/** One turn to its end; answers the ms from its message to the model's call. */
async function turn({ engine, calledMs }: Opened, agentId: string, n: number): Promise<number> {
  const startMs = performance.now();
  const say = { type: "Say", key: null, content: `${question}${n}`, attachments: [] } as const;
  const { sequence } = await engine.command(agentId, say);
  const follower = await engine.follow(agentId, sequence, false);
  for (let done = false; !done;) {
    const followed = await follower.take();
    done = followed.some((it) => it.kind === "event" && it.logged.event.type === "ModelSpoke");
    if (!done) await follower.wait(60_000);
  }
  follower.close();
  return calledMs() - startMs;
}

/** Makes it by having that many turns. */
export async function openLongAgent(turns: number): Promise<LongAgent> {
  const folder = mkdtempSync(join(tmpdir(), "engram-bench-"));
  let opened = open(folder);
  const { agentId } = await opened.engine.create(spec, null);
  for (let n = 0; n < turns; n++) await turn(opened, agentId, n);
  // Only a closed file has everything in it.
  await shut(opened);
  const bytes = statSync(join(folder, "engram.db")).size;
  opened = open(folder);
  return {
    warmMs: () => turn(opened, agentId, 0),
    coldMs: async () => {
      await shut(opened);
      opened = open(folder);
      return turn(opened, agentId, 0);
    },
    bytesPerTurn: () => bytes / turns,
    close: async () => {
      await shut(opened);
      rmSync(folder, { recursive: true });
    },
  };
}
