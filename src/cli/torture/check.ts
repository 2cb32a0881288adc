import { equals } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type Agent,
  type ServerMessage,
  ServerMessageSchema,
} from "../../gen/engram/api/v1/agent_pb.ts";
import { withoutMarks } from "../../llm/scripted/scripted.ts";
import { readLog } from "./log.ts";
import { isAck, lineOf, type Violation, type Witness } from "./witness.ts";

/** A message that a client sent, again and again under the same id until it was acknowledged. */
export type Sent = {
  /** How the log shows it: a status update with this word and message. */
  readonly word: string;
  readonly message: string;
  /** Without one, a repetition that changes nothing may leave no event, and one that was answered may be none. */
  readonly hasId: boolean;
  /** The event that it was acknowledged by, 0: the answer named none; null: it never was. */
  readonly ackedAt: number | null;
  /** What an answer to it must hold; empty: anything. */
  readonly expects: string;
};

/** What a client knows of an agent that came to rest, with nothing of it under way. */
export type Saw = {
  readonly witness: Pick<Witness, "events" | "sequence" | "unfinished">;
  readonly sent: readonly Sent[];
};

/** What the engine says of it. */
export type Said = {
  /** Replay with history, from the first event to the last. */
  readonly log: readonly ServerMessage[];
  /** GetAgent. */
  readonly agent: Agent;
};

/** Everything in which the log, the engine's answers and what the client saw do not agree; empty: they do. */
export const checkAgent = (saw: Saw, said: Said): readonly Violation[] => [
  ...sequenceViolations(said),
  ...seenViolations(saw, said),
  ...messageViolations(saw, said),
  ...readLog(said.log).violations,
  ...answerViolations(said),
];

/** The word of a status update and what stands beside it. */
const markOf = ({ payload }: Pick<ServerMessage, "payload">): string =>
  payload.case === "status"
    ? `${payload.value.status} ${JSON.stringify(payload.value.message)}`
    : "";
const markOfSent = ({ word, message }: Sent): string => `${word} ${JSON.stringify(message)}`;

/** The events that clients' messages become. */
const clientWords = [
  "user_input",
  "paused",
  "resumed",
  "canceled",
  "edited",
  "approved",
  "rejected",
];

function sequenceViolations({ log }: Said): readonly Violation[] {
  return log.flatMap((message, index) =>
    message.sequenceId === BigInt(index + 1)
      ? []
      : [{ rule: "gap", detail: `${lineOf(message)} stands at place ${index + 1} of the log` }],
  );
}

function seenViolations({ witness }: Saw, { log, agent }: Said): readonly Violation[] {
  const violations: Violation[] = [];
  for (const [sequence, seen] of witness.events) {
    const logged = log[sequence - 1];
    if (logged === undefined)
      violations.push({
        rule: "lost event",
        detail: `${lineOf(seen)} was seen; the log ends at ${log.length}`,
      });
    else if (isAck(seen)) {
      if (!clientWords.includes(wordOf(logged)))
        violations.push({
          rule: "changed event",
          detail: `${lineOf(seen)} was seen for ${lineOf(logged)}`,
        });
    } else if (!equals(ServerMessageSchema, seen, logged))
      violations.push({
        rule: "changed event",
        detail: `${lineOf(seen)} was seen; the log has ${lineOf(logged)}`,
      });
  }
  const finished = ["waiting_for_input", "completed"].includes(agent.status);
  if (finished && witness.unfinished !== "")
    violations.push({ rule: "taken back", detail: `${witness.unfinished}, and no event holds it` });
  for (let sequence = 2; sequence <= witness.sequence; sequence++)
    if (!witness.events.has(sequence))
      violations.push({ rule: "gap", detail: `event ${sequence} was never shown` });
  return violations;
}

const wordOf = ({ payload }: ServerMessage): string =>
  payload.case === "status" ? payload.value.status : "";

/** Each message that was acknowledged stands in the log once, where it was said to; none stands there twice or was made up. */
function messageViolations({ sent }: Saw, { log, agent }: Said): readonly Violation[] {
  const violations: Violation[] = [];
  const places = Map.groupBy(
    log.filter(
      (message) =>
        message.sequenceId > agent.forkedAtSequence && clientWords.includes(wordOf(message)),
    ),
    markOf,
  );
  const groups = Map.groupBy(sent, markOfSent);
  for (const [mark, group] of groups) {
    const count = places.get(mark)?.length ?? 0;
    const least = group.filter(({ hasId, ackedAt }) => hasId && ackedAt !== null).length;
    if (count < least)
      violations.push({
        rule: "lost message",
        detail: `${mark}: acknowledged ${least} times, in the log ${count} times`,
      });
    if (count > group.length)
      violations.push({
        rule: "doubled message",
        detail: `${mark}: sent ${group.length} times, in the log ${count} times`,
      });
    for (const { ackedAt, hasId } of group)
      if (
        hasId &&
        ackedAt !== null &&
        ackedAt > 0 &&
        markOf(log[ackedAt - 1] ?? emptyMessage) !== mark
      )
        violations.push({
          rule: "wrong place",
          detail: `${mark} was acknowledged as event ${ackedAt}, which it is not`,
        });
  }
  for (const [mark, messages] of places)
    if (!groups.has(mark))
      violations.push({
        rule: "unknown message",
        detail: `nobody sent ${mark} (${messages.length} times in the log)`,
      });
  if (["waiting_for_input", "completed"].includes(agent.status))
    for (const message of sent) violations.push(...unanswered(message, log));
  return violations;
}

const emptyMessage: Pick<ServerMessage, "payload"> = { payload: { case: undefined } };

/** The answer is whole: what it must hold stands in one text behind the message. */
function unanswered(
  { expects, ackedAt, message }: Sent,
  log: readonly ServerMessage[],
): readonly Violation[] {
  if (expects === "" || ackedAt === null) return [];
  const behind = log.slice(ackedAt);
  const answered = behind.some(
    ({ payload }) =>
      (payload.case === "text" || payload.case === "finalAnswer") &&
      withoutMarks(payload.value.content).includes(expects),
  );
  if (answered) return [];
  const texts = behind.flatMap(({ payload }) =>
    payload.case === "text" ? [payload.value.content] : [],
  );
  const detail = `${JSON.stringify(message.slice(0, 100))} asks for ${JSON.stringify(expects.slice(0, 100))}, the texts behind it are ${JSON.stringify(texts).slice(0, 500)}`;
  return [{ rule: "wrong answer", detail }];
}

/** What GetAgent says is what the log gives. */
function answerViolations({ log, agent }: Said): readonly Violation[] {
  const read = readLog(log);
  const [first, last] = [log[0], log.at(-1)];
  const said: Record<string, readonly [said: unknown, logged: unknown]> = {
    status: [agent.status, read.status],
    head_sequence: [Number(agent.headSequence), log.length],
    "stats.total_steps": [agent.stats?.totalSteps, read.steps],
    "stats.tool_calls": [agent.stats?.toolCalls, read.toolCalls],
    "stats.fuel_used": [Number(agent.stats?.fuelUsed), read.fuelUsed],
    "stats.tokens_used": [
      agent.stats?.tokensUsed,
      Number((agent.stats?.promptTokens ?? 0n) + (agent.stats?.completionTokens ?? 0n)),
    ],
    updated_at: [msOf(agent.updatedAt), msOf(last?.timestamp)],
  };
  if (agent.parentAgentId === "")
    said["created_at"] = [msOf(agent.createdAt), msOf(first?.timestamp)];
  return Object.entries(said).flatMap(([field, [given, logged]]) =>
    given === logged
      ? []
      : [
          {
            rule: field === "status" ? "wrong status" : "wrong statistics",
            detail: `${field} is ${String(given)}, the log gives ${String(logged)}`,
          },
        ],
  );
}

const msOf = (time: Parameters<typeof timestampMs>[0] | undefined): number =>
  time === undefined ? 0 : timestampMs(time);

/** The log of a fork begins with its parent's. */
export function checkFork(
  parent: readonly ServerMessage[],
  fork: readonly ServerMessage[],
  atSequence: number,
): readonly Violation[] {
  const violations: Violation[] = [];
  for (let index = 0; index < atSequence; index++) {
    const [original, copy] = [parent[index], fork[index]];
    const same =
      original !== undefined &&
      copy !== undefined &&
      equals(ServerMessageSchema, { ...original, agentId: "" }, { ...copy, agentId: "" });
    if (same) continue;
    const shown = [original, copy].map((message) =>
      message === undefined ? "nothing" : lineOf(message),
    );
    violations.push({ rule: "wrong fork", detail: `${shown[0]} was copied as ${shown[1]}` });
  }
  return violations;
}
