import type { AgentSpec } from "../../agent/event.ts";
import { isJsonObject } from "../../agent/json.ts";
import type { AgentRow } from "../../agent/row.ts";
import { type AgentState, isStatus, type Stats, type Status } from "../../agent/state.ts";
import { EngramError } from "../../errors.ts";
import { stateVersion } from "../codec.ts";
import type { Base } from "./base.ts";
import type { Group } from "./fleet.ts";
import { scripts } from "./scripts.ts";
import { listOf, numberOf, textOf } from "./values.ts";

/** What each append may change of what listings show; `version`: by whose folding. */
export const infoOf = ({ createdAtMs, updatedAtMs, reason, stats }: AgentState): string =>
  JSON.stringify({ version: stateVersion, createdAtMs, updatedAtMs, reason, stats });

/** What few do. */
export const specOf = ({ spec, parent }: AgentState): string => JSON.stringify({ spec, parent });

const fields = ["head", "status", "info", "spec", "worker", "lease"] as const;

/** What listings show of an agent; null: there is none. Fails with corrupt. */
export async function readRow(
  base: Base,
  agentId: string,
  nowMs: number,
): Promise<AgentRow | null> {
  const shard = base.shards.of(agentId);
  return rowOf(agentId, await base.ask(shard, "HMGET", shard.agent(agentId), ...fields), nowMs);
}

/** The same of many, in their order. */
export async function readRows(
  base: Base,
  agentIds: readonly string[],
  nowMs: number,
): Promise<readonly AgentRow[]> {
  const found = new Map<string, AgentRow | null>();
  const read = async ({ at, all }: Group): Promise<void> => {
    const ids = agentIds.filter((agentId) => all.includes(base.shards.of(agentId)));
    if (ids.length === 0) return;
    const keys = ids.map((agentId) => base.shards.of(agentId).agent(agentId));
    const rows = listOf(await base.run(at, scripts.rows, { keys, args: fields }));
    for (const [n, agentId] of ids.entries()) found.set(agentId, rowOf(agentId, rows[n], nowMs));
  };
  await Promise.all(base.groups.map(read));
  return agentIds.flatMap((agentId) => found.get(agentId) ?? []);
}

function rowOf(agentId: string, hash: unknown, nowMs: number): AgentRow | null {
  const reply = listOf(hash);
  if (reply[0] === null) return null;
  const [head = "", status = "", info = "", spec = "", worker = "", lease = ""] = reply.map(textOf);
  const driven = worker !== "" && numberOf(lease) > nowMs;
  const { createdAtMs, updatedAtMs, reason, stats } = parsed(agentId, info, isInfo);
  return {
    agentId,
    createdAtMs,
    updatedAtMs,
    status: shownStatus(agentId, status, driven),
    reason,
    sequence: numberOf(head),
    stats,
    ...parsed(agentId, spec, isSpec),
  };
}

function shownStatus(agentId: string, status: string, driven: boolean): Status {
  if (!isStatus(status)) throw damaged(agentId);
  return driven && status === "waiting_for_step" ? "processing" : status;
}

function parsed<T>(agentId: string, json: string, is: (value: unknown) => value is T): T {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    throw damaged(agentId);
  }
  if (is(value)) return value;
  throw damaged(agentId);
}

const damaged = (agentId: string): EngramError =>
  new EngramError("corrupt", `the index row of agent ${agentId} is damaged`);

type Info = Pick<AgentRow, "createdAtMs" | "updatedAtMs" | "reason" | "stats">;

const isStats = (value: unknown): value is Stats =>
  isJsonObject(value) &&
  typeof value["steps"] === "number" &&
  typeof value["workedMs"] === "number";

const isInfo = (value: unknown): value is Info =>
  isJsonObject(value) &&
  typeof value["createdAtMs"] === "number" &&
  typeof value["updatedAtMs"] === "number" &&
  typeof value["reason"] === "string" &&
  isStats(value["stats"]);

const isSpec = (
  value: unknown,
): value is { readonly spec: AgentSpec; readonly parent: AgentState["parent"] } =>
  isJsonObject(value) &&
  isJsonObject(value["spec"]) &&
  typeof value["spec"]["goal"] === "string" &&
  typeof value["spec"]["model"] === "string" &&
  isJsonObject(value["spec"]["config"]) &&
  (value["parent"] === null || isJsonObject(value["parent"]));
