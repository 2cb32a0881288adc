import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { isJsonObject } from "../../agent/json.ts";
import {
  CancelSchema,
  ConfirmSchema,
  EditSchema,
  PauseSchema,
  ResumeSchema,
  type ToolInfo,
  UserInputSchema,
} from "../../gen/engram/api/v1/agent_pb.ts";
import { scriptedReply } from "../../llm/scripted/reply.ts";
import type { Random } from "./random.ts";
import type { Outgoing, Subject } from "./subject.ts";

/** Something to ask for, and what the whole answer must hold; empty: anything. */
export type Request = { readonly content: string; readonly expects: string };

type Timing = { readonly isDue?: Outgoing["isDue"]; readonly isHasty?: boolean };

/** Makes the messages of one agent's client; every one has an id and words of its own, so that none can be taken for another. */
export type Messages = {
  say(request: Request, more?: Timing & { attachments?: Attachments }): Outgoing;
  pause(timing?: Timing): Outgoing;
  resume(): Outgoing;
  cancel(timing?: Timing): Outgoing;
  edit(mood: string, timing?: Timing): Outgoing;
  confirm(callId: string, approve: boolean): Outgoing;
  /** An id that no message has. */
  nextId(): string;
};

type Attachments = NonNullable<(MessageInitShape<typeof UserInputSchema> & object)["attachments"]>;

/** `prefix` tells apart the messages of an agent and of its forks, whose logs begin alike. */
export function makeMessages(subject: Subject, prefix: string): Messages {
  let count = 0;
  const nextId = (): string => `${prefix}${++count}`;
  const outgoing = (
    shown: { readonly word: string; readonly message: string; readonly expects?: string },
    message: Pick<Outgoing, "messageId" | "payload">,
    { isDue = () => true, isHasty = false }: Timing = {},
  ): Outgoing => {
    const sent = { expects: "", ...shown, hasId: true, ackedAt: null };
    subject.sent.push(sent);
    return { ...message, sent, isDue, isHasty };
  };
  return {
    nextId,
    say: (request, { attachments = [], ...timing } = {}) => {
      const messageId = nextId();
      const content = `${request.content} (${messageId})`;
      const value = create(UserInputSchema, { content, attachments });
      const shown = { word: "user_input", message: content, expects: request.expects };
      return outgoing(shown, { messageId, payload: { case: "userInput", value } }, timing);
    },
    pause: (timing) => {
      const messageId = nextId();
      const value = create(PauseSchema, { reason: messageId });
      const shown = { word: "paused", message: messageId };
      return outgoing(shown, { messageId, payload: { case: "pause", value } }, timing);
    },
    resume: () => {
      const payload = { case: "resume", value: create(ResumeSchema) } as const;
      return outgoing({ word: "resumed", message: "" }, { messageId: nextId(), payload });
    },
    cancel: (timing) => {
      const payload = { case: "cancel", value: create(CancelSchema) } as const;
      return outgoing({ word: "canceled", message: "" }, { messageId: nextId(), payload }, timing);
    },
    edit: (mood, timing) => {
      const messageId = nextId();
      const value = create(EditSchema, { patch: { metadata: { mood } }, description: messageId });
      const shown = { word: "edited", message: messageId };
      return outgoing(shown, { messageId, payload: { case: "edit", value } }, timing);
    },
    confirm: (callId, approve) => {
      const value = create(ConfirmSchema, { callId, approve, reason: approve ? "" : "not now" });
      const shown = { word: approve ? "approved" : "rejected", message: callId };
      return outgoing(shown, { messageId: nextId(), payload: { case: "confirm", value } });
    },
  };
}

/** Due as soon as so many bytes of the answer to come were shown, or it is over without. */
export function inMidAnswer(subject: Subject, bytes: number): Outgoing["isDue"] {
  const answers = subject.answers();
  return () => subject.witness.shownBytes >= bytes || subject.answers() > answers;
}

const replyTo = (content: string): string =>
  scriptedReply([{ role: "user", content, images: [] }], []).text;

/** A long answer, every word of which is known. */
export function tale(random: Random, least: number, most: number): Request {
  const content = `Write ${random.between(least, most)} words.`;
  return { content, expects: replyTo(content) };
}

/** A short answer. */
export function smallTalk(random: Random): Request {
  const n = random.between(1, 1_000);
  const contents = [
    `Count to ${random.between(3, 40)}.`,
    `Write ${random.between(1, 12)} words.`,
    `The colour is shade-${n}.`,
  ] as const;
  if (random.chance(0.3))
    return { content: `Say grüß dich, 世界 🙂 ${n}!`, expects: `grüß dich, 世界 🙂 ${n}!` };
  const content = random.pick(contents);
  return { content, expects: replyTo(content) };
}

/** A request for calls of tools that are there, one after the other or at once. */
export function toolRequest(
  random: Random,
  tools: readonly [ToolInfo, ...ToolInfo[]],
  confirmed: readonly string[],
): Request {
  const first = toolCall(random, random.pick(tools));
  const needsDecision = (call: ToolCall): boolean => confirmed.includes(call.name);
  if (random.chance(0.4))
    return { content: `Call ${first.text}.`, expects: needsDecision(first) ? "" : first.expects };
  const second = toolCall(random, random.pick(tools));
  if (random.chance(0.5)) {
    const decided = needsDecision(first) || needsDecision(second);
    const content = `Call ${first.text} and call ${second.text}.`;
    return { content, expects: decided ? "" : second.expects };
  }
  const { content, expects } = tale(random, 5, 40);
  return { content: `Call ${first.text}, then call ${second.text}, then ${content}`, expects };
}

type ToolCall = { readonly name: string; readonly text: string; readonly expects: string };

function toolCall(random: Random, { tool }: ToolInfo): ToolCall {
  const name = tool?.name ?? "";
  const [a, b] = [random.between(2, 99), random.between(2, 99)];
  const known: Readonly<Record<string, readonly [input: unknown, output: string]>> = {
    calculator: [{ expression: `${a} * ${b}` }, `says: ${a * b}.`],
    json_query: [{ query: "$..n", document: { list: [{ n: a }, { n: b }] } }, `says: [${a},${b}].`],
    clock: [{}, "says: 2"],
  };
  const [input, output] = known[name] ?? [sample(tool?.parametersSchema ?? {}), ""];
  const text = `${name} with ${JSON.stringify(input)}`;
  return { name, text, expects: `The tool ${name} ${output}` };
}

/** An input that a schema may well take. A tool that refuses it has a result all the same. */
function sample(schema: unknown): unknown {
  if (!isJsonObject(schema)) return "text";
  const { type, enum: choices, required, properties } = schema;
  if (Array.isArray(choices)) return choices[0];
  if (schema["default"] !== undefined) return schema["default"];
  switch (Array.isArray(type) ? type[0] : (type ?? "object")) {
    case "object": {
      const names = Array.isArray(required) ? required.map(String) : [];
      const shapes = isJsonObject(properties) ? properties : {};
      return Object.fromEntries(names.map((name) => [name, sample(shapes[name])]));
    }
    case "integer":
    case "number":
      return schema["minimum"] ?? 1;
    case "boolean":
      return true;
    case "array":
      return [];
    default:
      return "text";
  }
}
