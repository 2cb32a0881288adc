import { type EngineProcess, openEngine } from "../../support/engine-process.ts";
import type { RedisServer } from "../../support/redis-server.ts";
import { engineOn, processorMs } from "./engines.ts";
import { openStandIn } from "./stand-in.ts";

/** An engine with a model server of its own, so that it shows which engine made a step. */
export type Member = AsyncDisposable & {
  readonly engine: EngineProcess;
  /** Steps that it has begun. */
  steps(): number;
  processorMs(): number;
};

/** `redis` null: on SQLite. The model takes `modelMs` for each answer. */
export async function openMember(
  redis: RedisServer | null,
  prefix: string,
  { modelMs, concurrency }: { readonly modelMs: number; readonly concurrency: number },
): Promise<Member> {
  const model = openStandIn(modelMs);
  const settings = {
    LLM_PROVIDER: "ollama",
    OLLAMA_URL: model.url,
    WORKER_CONCURRENCY: `${concurrency}`,
  };
  const engine = await (redis === null ? openEngine(settings) : engineOn(redis, prefix, settings));
  return {
    engine,
    steps: model.calls,
    processorMs: () => processorMs(engine.pid),
    [Symbol.asyncDispose]: async () => {
      await engine[Symbol.asyncDispose]();
      await model.close();
    },
  };
}
