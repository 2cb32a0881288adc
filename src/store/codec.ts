import type { Event, EventType, ModelCall } from "../agent/event.ts";
import { isJsonObject } from "../agent/json.ts";
import type { AgentState } from "../agent/state.ts";
import { EngramError } from "../errors.ts";

/** The fields that make a stored value an event of its type, with what `typeof` says of each. */
const shapes: Readonly<Record<EventType, Readonly<Record<string, string>>>> = {
  AgentCreated: { goal: "string", model: "string", config: "object", tools: "object" },
  MessageReceived: { content: "string", attachments: "object" },
  AgentPaused: { reason: "string" },
  AgentResumed: {},
  AgentCanceled: {},
  AgentRetried: {},
  AgentEdited: { spec: "object", description: "string" },
  ToolConfirmed: { callId: "string", approve: "boolean" },
  ModelThought: { content: "string" },
  ModelSpoke: { content: "string" },
  ToolRequested: { callId: "string", name: "string", inputJson: "string" },
  FinalAnswered: { content: "string" },
  ToolReturned: { callId: "string", output: "string", fuelUsed: "number" },
  ModelFailed: { call: "object", code: "string", message: "string", retryAtMs: "number" },
  AnswerAbandoned: { call: "object", reason: "string" },
  Observed: { content: "string" },
  ContextCondensed: { items: "number", summary: "string", usage: "object" },
  TurnFailed: { code: "string", message: "string" },
  AgentForked: { parent: "object", metadata: "object" },
};

const isEventType = (value: unknown): value is EventType =>
  typeof value === "string" && Object.hasOwn(shapes, value);

function isEvent(value: unknown): value is Event {
  if (!isJsonObject(value) || !isEventType(value["type"])) return false;
  for (const [field, type] of Object.entries(shapes[value["type"]]))
    if (typeof value[field] !== type) return false;
  return true;
}

export const encodeEvent = (event: Event): string => JSON.stringify(event);

/** The event stored as `body`. Throws `corrupt` where it is not one this version knows. */
export const decodeEvent = (body: string): Event => eventOf(parse(body));

/** The event that parsed JSON is. Throws as `decodeEvent`. */
export function eventOf(value: unknown): Event {
  if (isEvent(value)) return value;
  const shown = JSON.stringify(value).slice(0, 80);
  throw new EngramError("corrupt", `a stored event is not one this version knows: ${shown}`);
}

const isModelCall = (value: unknown): value is ModelCall =>
  isJsonObject(value) &&
  typeof value["afterSequence"] === "number" &&
  typeof value["nowMs"] === "number";

/** The model call stored as `body`. Throws `corrupt`. */
export function decodeCall(body: string): ModelCall {
  const value = parse(body);
  if (isModelCall(value)) return value;
  throw new EngramError("corrupt", `a stored draft has no model call: ${body.slice(0, 80)}`);
}

/**
 * Of what folding gives: raised with each change of the state or of what an event does to it, so that a snapshot of
 * another version is not gone on with.
 */
export const stateVersion = 3;

/** A state as a snapshot holds it. */
export const encodeState = (state: AgentState): string =>
  JSON.stringify({ version: stateVersion, state });

const isState = (value: unknown): value is AgentState =>
  isJsonObject(value) && typeof value["sequence"] === "number" && isJsonObject(value["turn"]);

/** The state stored as `body`; null: of another version, to be folded anew. Throws `corrupt` on what is no state. */
export function decodeState(body: string): AgentState | null {
  const value = parse(body);
  const version = isJsonObject(value) ? value["version"] : undefined;
  if (typeof version === "number" && version !== stateVersion) return null;
  if (isJsonObject(value) && isState(value["state"])) return value["state"];
  throw new EngramError("corrupt", `a stored snapshot is no state: ${body.slice(0, 80)}`);
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch (cause) {
    throw new EngramError("corrupt", `stored bytes are not JSON: ${body.slice(0, 80)}`, { cause });
  }
}

/** What the hash of an agent's first event is chained to; it ties the log to its agent. */
export const genesisHash = (agentId: string): Uint8Array =>
  new Bun.CryptoHasher("sha256").update(`engram log ${agentId}`).digest();

/** SHA-256 over the predecessor's hash and all that is stored of this event: the log is tamper-evident. */
export const chainHash = (
  previous: Uint8Array,
  sequence: number,
  atMs: number,
  body: string,
): Uint8Array =>
  new Bun.CryptoHasher("sha256")
    .update(previous)
    .update(`\n${sequence}\n${atMs}\n${body}`)
    .digest();

/** What a snapshot is kept with: it ties the state to its place in the log, and shows a changed byte. */
export const snapshotHash = (headHash: Uint8Array, body: string): Uint8Array =>
  new Bun.CryptoHasher("sha256").update(headHash).update(body).digest();
