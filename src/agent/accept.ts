import { EngramError } from "../errors.ts";
import type { AgentSpec, Attachment, Event, MessageKey } from "./event.ts";
import { decisionDigest, decisionKey, type Marks, messageKey } from "./mark.ts";
import { engineLimits } from "../limits.ts";
import { type AgentState, conversationChars, statusOf } from "./state.ts";

/** What a client asks of an agent. */
export type Command = { readonly key: MessageKey | null } & (
  | {
      readonly type: "Say";
      readonly content: string;
      readonly attachments: readonly Attachment[];
    }
  | { readonly type: "Pause"; readonly reason: string }
  | { readonly type: "Resume" }
  | { readonly type: "Cancel" }
  | { readonly type: "Retry" }
  | {
      readonly type: "Confirm";
      readonly callId: string;
      readonly approve: boolean;
      readonly reason: string;
    }
  | {
      readonly type: "Edit";
      /** Pure; throws invalid_argument where the patch does not fit. */
      readonly change: (spec: AgentSpec) => AgentSpec;
      readonly description: string;
    }
);

/** The events to record; none: `sequence` already says it. */
export type Accepted = { readonly events: readonly Event[]; readonly sequence: number };

/** The keys of the marks that `accept` has to know for a command. */
export const markKeysOf = (command: Command): readonly string[] => [
  ...(command.key === null ? [] : [messageKey(command.key.messageId)]),
  ...(command.type === "Confirm" ? [decisionKey(command.callId)] : []),
];

/**
 * What a command comes to, where `marks` are those of its keys at the state's sequence or later. Refused with
 * failed_precondition (an impossible move), not_found (no such tool call), already_exists (the message id was used for
 * something else), resource_exhausted (the conversation is full) or what an edit's change throws.
 */
export function accept(state: AgentState, command: Command, marks: Marks): Accepted {
  const known = command.key === null ? undefined : marks.get(messageKey(command.key.messageId));
  if (known === undefined)
    return { events: eventsOf(state, command, marks), sequence: state.sequence };
  if (known.digest === command.key?.digest) return { events: [], sequence: known.sequence };
  throw new EngramError(
    "already_exists",
    `message_id ${command.key?.messageId} was used for another message; give each message an id of its own`,
  );
}

/** A conversation is in memory as a whole, also that of a paused agent, which nobody condenses. */
function mustHaveRoom(state: AgentState): void {
  const chars = conversationChars(state);
  if (chars <= engineLimits.conversationCharsMax) return;
  throw new EngramError(
    "resource_exhausted",
    `the conversation has ${chars} characters with its files, and takes no input beyond ${engineLimits.conversationCharsMax}: let the agent work on what it has, or fork it at an earlier event`,
  );
}

function eventsOf(state: AgentState, command: Command, marks: Marks): readonly Event[] {
  const { key } = command;
  switch (command.type) {
    case "Say":
      if (state.lifecycle === "failed")
        throw refused(state, "takes no input", "retry it or fork it");
      if (state.lifecycle === "canceled")
        throw refused(state, "takes no input", "fork it to go on from its log");
      mustHaveRoom(state);

      return [
        {
          type: "MessageReceived",
          key,
          content: command.content,
          attachments: command.attachments,
        },
      ];
    case "Pause":
      mustBeOpen(state, "cannot be paused");
      return once(state.paused, { type: "AgentPaused", key, reason: command.reason });
    case "Resume":
      mustBeOpen(state, "cannot be resumed");
      return once(!state.paused, { type: "AgentResumed", key });
    case "Cancel":
      return once(state.lifecycle === "canceled", { type: "AgentCanceled", key });
    case "Retry":
      if (state.lifecycle !== "failed")
        throw refused(state, "cannot be retried", "only a failed agent can");
      return [{ type: "AgentRetried", key }];
    case "Confirm":
      return confirm(state, command, marks);
    case "Edit":
      if (state.lifecycle === "canceled")
        throw refused(state, "cannot be edited", "fork it to go on from its log");
      return [
        {
          type: "AgentEdited",
          key,
          spec: command.change(state.spec),
          description: command.description,
        },
      ];
  }
}

/** A command that changes nothing is recorded only for its id's sake: a late repetition must not do it after all. */
const once = (
  changesNothing: boolean,
  event: Event & { readonly key: MessageKey | null },
): readonly Event[] => (changesNothing && event.key === null ? [] : [event]);

function confirm(
  state: AgentState,
  command: Extract<Command, { readonly type: "Confirm" }>,
  marks: Marks,
): readonly Event[] {
  const { callId, approve, reason, key } = command;
  const decided = marks.get(decisionKey(callId))?.digest;
  const event = { type: "ToolConfirmed", key, callId, approve, reason } as const;
  if (decided === decisionDigest(approve)) return once(true, event);
  if (decided !== undefined)
    throw new EngramError("failed_precondition", `the tool call ${callId} was already ${decided}`);
  const call = state.pendingCalls.find((pending) => pending.callId === callId);
  if (call === undefined)
    throw new EngramError("not_found", `no tool call ${callId} waits for a confirmation`);
  mustBeOpen(state, "takes no confirmation");
  if (!call.awaitsConfirmation)
    throw new EngramError(
      "failed_precondition",
      `the tool call ${callId} asks for no confirmation`,
    );
  if (approve) return [event];
  const message =
    reason === "" ? "the user rejected this call" : `the user rejected this call: ${reason}`;
  const rejected: Event = {
    type: "ToolReturned",
    callId,
    output: "",
    error: { code: "TOOL_REJECTED", message },
    fuelUsed: 0,
    memoryBytes: 0,
    durationMs: 0,
  };
  return [event, rejected];
}

function mustBeOpen(state: AgentState, what: string): void {
  if (state.lifecycle === "open") return;
  const advice = {
    completed: "send it a message to reopen it",
    failed: "retry it",
    canceled: "fork it to go on from its log",
  }[state.lifecycle];
  throw refused(state, what, advice);
}

const refused = (state: AgentState, what: string, advice: string): EngramError =>
  new EngramError(
    "failed_precondition",
    `the agent is ${statusOf(state)}${state.reason === "" ? "" : ` (${state.reason})`} and ${what}; ${advice}`,
  );
