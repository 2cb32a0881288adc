import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { ServerMessage } from "../../gen/engram/api/v1/agent_pb.ts";
import { lineOf, type Violation } from "./witness.ts";

/** What a log says by itself, read without the engine's own fold. */
export type LogReading = {
  /** Of an agent at rest. */
  readonly status: string;
  readonly steps: number;
  readonly toolCalls: number;
  readonly fuelUsed: number;
  /** Calls that wait for a client's decision. */
  readonly awaiting: readonly string[];
  readonly violations: readonly Violation[];
};

type State = {
  lifecycle: "open" | "completed" | "failed" | "canceled";
  paused: boolean;
  /** Calls without a result; true: a client has to decide first. */
  readonly open: Map<string, boolean>;
  readonly called: Set<string>;
  readonly rejected: Set<string>;
};

/** The log of an agent at rest, as Replay with history shows it. */
export function readLog(log: readonly ServerMessage[]): LogReading {
  const violations: Violation[] = [];
  const state: State = {
    lifecycle: "open",
    paused: false,
    open: new Map(),
    called: new Set(),
    rejected: new Set(),
  };
  let toolCalls = 0;
  let fuelUsed = 0;
  let steps = 0;
  for (const [index, message] of log.entries()) {
    if (isOutput(message)) checkMayRun(state, message, violations);
    if (beginsReply(log[index - 1], message)) steps++;
    const { payload } = message;
    if (payload.case === "toolCall") toolCalls++;
    if (payload.case === "toolResult") fuelUsed += Number(payload.value.fuelUsed);
    apply(state, message, violations);
  }
  const awaiting = [...state.open].filter(([, awaits]) => awaits).map(([callId]) => callId);
  const status = statusOf(state);
  if (status === "waiting_for_step")
    violations.push({ rule: "call without result", detail: [...state.open.keys()].join(" ") });
  return { status, steps, toolCalls, fuelUsed, awaiting, violations };
}

function statusOf({ lifecycle, paused, open }: State): string {
  if (lifecycle !== "open") return lifecycle;
  if (paused) return "paused";
  if (open.size === 0) return "waiting_for_input";
  return [...open.values()].includes(false) ? "waiting_for_step" : "waiting_for_confirmation";
}

/** What a model, a tool or the engine puts out. */
const isOutput = ({ payload }: ServerMessage): boolean => payload.case !== "status";

/** A paused, failed or canceled agent never runs a step; only a client's rejection gives a call its result then. */
function checkMayRun(state: State, message: ServerMessage, violations: Violation[]): void {
  const { payload } = message;
  if (payload.case === "toolResult" && state.rejected.has(payload.value.callId)) return;
  const why = state.paused ? "paused" : state.lifecycle;
  if (why === "open" || why === "completed") return;
  violations.push({ rule: "ran while stopped", detail: `${lineOf(message)}, while it was ${why}` });
}

/** The events of a reply are recorded at once: a thought, a text, calls or a final answer, in this order. */
function beginsReply(
  before: ServerMessage | undefined,
  { payload, timestamp }: ServerMessage,
): boolean {
  const rank = rankOf(payload);
  if (rank === 0) return false;
  const rankBefore = before === undefined ? 0 : rankOf(before.payload);
  if (rankBefore === 0 || before === undefined) return true;
  const goesOn = rank > rankBefore || (rank === 3 && rankBefore === 3);
  return !goesOn || msOf(timestamp) !== msOf(before.timestamp);
}

const ranks: Partial<Record<string, number>> = { thought: 1, text: 2, toolCall: 3, finalAnswer: 4 };
const rankOf = (payload: ServerMessage["payload"]): number => ranks[payload.case ?? ""] ?? 0;
const msOf = (time: ServerMessage["timestamp"]): number =>
  time === undefined ? 0 : timestampMs(time);

function apply(state: State, message: ServerMessage, violations: Violation[]): void {
  const { payload } = message;
  switch (payload.case) {
    case "status":
      return applyStatus(state, payload.value.status, payload.value.message);
    case "toolCall": {
      const { callId, requiresConfirmation } = payload.value;
      if (state.called.has(callId))
        violations.push({ rule: "call twice", detail: lineOf(message) });
      state.called.add(callId);
      state.open.set(callId, requiresConfirmation);
      reopen(state);
      return;
    }
    case "toolResult":
      if (!state.open.delete(payload.value.callId)) {
        const rule = state.called.has(payload.value.callId)
          ? "result twice"
          : "result without call";
        violations.push({ rule, detail: lineOf(message) });
      }
      return;
    case "error":
      state.lifecycle = "failed";
      return;
    case "finalAnswer":
      if (state.lifecycle === "open") state.lifecycle = "completed";
      return;
    case "thought":
    case "text":
      return reopen(state);
    default:
      return;
  }
}

/** What goes on behind a final answer answers input that it did not know of. */
function reopen(state: State): void {
  if (state.lifecycle === "completed") state.lifecycle = "open";
}

function applyStatus(state: State, word: string, message: string): void {
  switch (word) {
    case "user_input":
      return reopen(state);
    case "paused":
      state.paused = true;
      return;
    case "resumed":
      state.paused = false;
      return;
    case "canceled":
      state.lifecycle = "canceled";
      state.paused = false;
      return;
    case "approved":
      if (state.open.has(message)) state.open.set(message, false);
      return;
    case "rejected":
      state.rejected.add(message);
      return;
    case "waiting_for_step":
      if (message === "retried") state.lifecycle = "open";
      return;
    case "forked":
      // What the parent was about to do stays the parent's.
      state.lifecycle = "open";
      state.paused = false;
      state.open.clear();
      return;
    default:
      return;
  }
}
