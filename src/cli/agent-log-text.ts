import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { ServerMessage, ToolCall, ToolResult } from "../gen/engram/api/v1/agent_pb.ts";
import { cliLimits } from "./cli-limits.ts";
import { fitted, plainText } from "./tool-text.ts";

/** Turns events, given in order, into lines of at most `charsMax` columns: place, time, kind, and what fits of the rest. */
export function makeLines(charsMax: number): (message: ServerMessage) => string {
  const names = makeNames();
  return (message) => {
    const { sequenceId, timestamp, payload } = message;
    const time = timestamp === undefined ? "" : timestampDate(timestamp).toISOString();
    const [kind, text] = shownOf(payload, names);
    const head = `${String(sequenceId).padStart(5)}  ${time.replace(/\.\d+Z$/, "Z")}  ${kind.padEnd(12)}`;
    return fitted(oneLine(`${head}  ${text.slice(0, charsMax)}`), charsMax);
  };
}

function shownOf(payload: ServerMessage["payload"], names: Names): readonly [string, string] {
  switch (payload.case) {
    case "thought":
    case "text":
    case "observation":
      return [payload.case, payload.value.content];
    case "toolCall":
      names.learn(payload.value);
      return ["tool_call", callText(payload.value)];
    case "toolResult":
      return ["tool_result", resultText(payload.value, names.take(payload.value.callId))];
    case "finalAnswer":
      return ["final_answer", payload.value.content];
    case "error":
      return ["error", `${payload.value.code}: ${payload.value.message}`];
    case "status":
      return [payload.value.status, payload.value.message];
    default:
      return [payload.case ?? "unknown", ""];
  }
}

export const callText = ({ toolName, inputJson, callId, requiresConfirmation }: ToolCall): string =>
  `${toolName} ${inputJson}${requiresConfirmation ? ` (${callId} is to be confirmed)` : ""}`;

export const resultText = (
  { isError, errorCode, errorMessage, output }: ToolResult,
  name: string,
): string => `${name} ${isError ? `${errorCode}: ${errorMessage} ` : ""}${output}`;

export type Names = { learn(call: ToolCall): void; take(callId: string): string };

/** A result is shown with its tool's name, which the call alone has. */
export function makeNames(): Names {
  const names = new Map<string, string>();
  return {
    learn: ({ callId, toolName }) => {
      names.set(callId, toolName);
      for (const oldest of names.keys())
        if (names.size > cliLimits.callNamesMax) names.delete(oldest);
    },
    take: (callId) => {
      const name = names.get(callId) ?? callId;
      names.delete(callId);
      return name;
    },
  };
}

const oneLine = (text: string): string => plainText(text.replaceAll(/[\n\t]/g, " ")).trimEnd();
