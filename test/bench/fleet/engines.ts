import { readFileSync } from "node:fs";
import type { RedisServer } from "../../support/redis-server.ts";
import { type EngineProcess, openEngine, type Settings } from "../../support/engine-process.ts";

/** Starts the built binary on a Redis; engines with one `prefix` share their agents. */
export const engineOn = (
  redis: RedisServer,
  prefix: string,
  settings: Settings = {},
): Promise<EngineProcess> =>
  openEngine({
    STORE_TYPE: "redis",
    REDIS_URL: `127.0.0.1:${redis.port}`,
    REDIS_KEY_PREFIX: `${prefix}:`,
    ...settings,
  });

/** Processor time in ms that a process has taken so far, to 10 ms; NaN where the system does not tell. */
export function processorMs(pid: number): number {
  if (process.platform !== "linux") return Number.NaN;
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return 10 * (Number(fields[11]) + Number(fields[12]));
}

/** What a Redis has done so far. */
export type RedisWork = {
  readonly processorMs: number;
  /** What clients asked for at once counts once: about the round trips. */
  readonly reads: number;
  /** Those within scripts too. */
  readonly commands: number;
  readonly bytes: number;
};

export function workOf(redis: RedisServer): RedisWork {
  const info = redis.cli("info", "everything");
  const said = (field: string): number =>
    Number(new RegExp(`^${field}:([0-9.]+)`, "m").exec(info)?.[1] ?? Number.NaN);
  return {
    processorMs: 1000 * (said("used_cpu_sys") + said("used_cpu_user")),
    reads: said("total_reads_processed"),
    commands: said("total_commands_processed"),
    bytes: said("total_net_input_bytes") + said("total_net_output_bytes"),
  };
}
