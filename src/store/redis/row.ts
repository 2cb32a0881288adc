import type { AgentSpec } from "../../agent/event.ts";
import { isJsonObject } from "../../agent/json.ts";
import type { AgentRow } from "../../agent/row.ts";
import { type AgentState, isStatus, type Stats, type Status } from "../../agent/state.ts";
import { EngramError } from "../../errors.ts";
import type { Base } from "./base.ts";
import { listOf, numberOf, textOf } from "./values.ts";

/** What each append may change of what listings show. */
export const infoOf = (state: AgentState, updatedAtMs: number): string =>
  JSON.stringify({
    createdAtMs: state.createdAtMs,
    updatedAtMs,
    reason: state.reason,
    stats: state.stats,
  });

/** What few do. */
export const specOf = ({ spec, parent }: AgentState): string => JSON.stringify({ spec, parent });

/** What listings show of an agent; null: there is none. Fails with corrupt. */
export async function readRow(
  base: Base,
  agentId: string,
  nowMs: number,
): Promise<AgentRow | null> {
  const shard = base.shards.of(agentId);
  const fields = ["head", "status", "info", "spec", "worker", "lease"];
  const reply = listOf(await base.ask(shard, "HMGET", shard.agent(agentId), ...fields));
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
