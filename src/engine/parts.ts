import type { Clock } from "../clock.ts";
import type { Log } from "../log.ts";
import type { Model } from "../llm/model.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { Store } from "../store/store.ts";

export type EngineSettings = {
  /** Steps at once in this process; 0: serve the API only. */
  readonly concurrency: number;
  readonly leaseTtlMs: number;
};

/** What the engine works with; chosen and joined where the process starts. */
export type Parts = {
  readonly store: Store;
  readonly model: Model;
  readonly sandbox: Sandbox;
  readonly clock: Clock;
  readonly log: Log;
  readonly settings: EngineSettings;
};
