import { once } from "node:events";
import { styleText } from "node:util";
import type {
  FinalAnswer,
  ServerMessage,
  ToolCall,
  ToolResult,
} from "../../gen/engram/api/v1/agent_pb.ts";
import { callText, makeNames, resultText } from "../agent-log-text.ts";
import { clientLimits } from "../cli-limits.ts";
import { lineColumns } from "../print.ts";
import { fitted, oneLine, plainText } from "../tool-text.ts";
import { makeTranscript, type Written } from "../transcript.ts";

type Style = Parameters<typeof styleText>[0];

/** Where a chat is shown. What models, tools and other clients wrote gives the terminal no orders. */
export type Screen = {
  /** A new stream begins. */
  attach(): void;
  show(message: ServerMessage): void;
  /** What a user said. */
  echo(content: string): void;
  /** A line of the chat's own. */
  note(text: string): void;
  /** Whole, since somebody is going to decide about it. */
  ask(call: ToolCall): void;
  /** Resolves when the terminal has taken what was written. */
  drained(): Promise<void>;
};

function write(text: string, style: Style | null): void {
  const painted = style === null ? text : styleText(style, text, { stream: process.stdout });
  process.stdout.write(painted);
}

type Kind = "text" | "thought";

/** Lines on the standard output, of which the last may be one that is being written. */
function makeLines() {
  /** What stands on it; null: it is empty. */
  let writing: Kind | null = null;
  const endLine = (): void => {
    if (writing !== null) write("\n", null);
    writing = null;
  };
  const line = (text: string, style: Style | null): void => {
    endLine();
    write(plainText(text), style);
    write("\n", null);
  };
  return {
    endLine,
    line,
    shortLine: (text: string, style: Style | null): void =>
      line(fitted(oneLine(text), lineColumns()), style),
    piece: (kind: Kind, { fresh, isAnew }: Written): void => {
      if (isAnew) line("(begun anew)", "dim");
      if (fresh === "") return;
      if (writing !== kind) endLine();
      writing = kind;
      write(plainText(fresh), kind === "thought" ? "dim" : null);
    },
  };
}

/** Writes to the standard output. */
export function makeScreen(): Screen {
  const transcripts = { text: makeTranscript(), thought: makeTranscript() };
  const { endLine, line, shortLine, piece } = makeLines();
  const names = makeNames();
  const resultOf = (result: ToolResult): string => resultText(result, names.take(result.callId));
  const echo = (content: string): void => line(`> ${content}`, "cyan");
  const show = ({ payload }: ServerMessage): void => {
    switch (payload.case) {
      case "textDelta":
      case "thoughtDelta": {
        const kind = payload.case === "textDelta" ? "text" : "thought";
        const { offset, content } = payload.value;
        return piece(kind, transcripts[kind].write(Number(offset), content));
      }
      case "text":
      case "thought":
        piece(payload.case, transcripts[payload.case].end(payload.value.content));
        return endLine();
      case "toolCall":
        names.learn(payload.value);
        return shortLine(`call ${callText(payload.value)}`, "magenta");
      case "toolResult":
        return shortLine(`result ${resultOf(payload.value)}`, "magenta");
      case "finalAnswer":
        return line(answerText(payload.value), null);
      case "error":
        return line(`${payload.value.code}: ${payload.value.message}`, "red");
      case "observation":
        return shortLine(`(${payload.value.content})`, "dim");
      case "status": {
        const { status, message } = payload.value;
        if (status === "user_input") return echo(message);
        const text = statusText(status, message);
        return text === "" ? undefined : shortLine(`(${text})`, "dim");
      }
      default:
        return;
    }
  };
  return {
    attach: () => {
      transcripts.text.attach();
      transcripts.thought.attach();
    },
    show,
    echo,
    note: (text) => line(oneLine(text), "dim"),
    ask: (call) => line(questionText(call), "magenta"),
    drained: async () => {
      if (process.stdout.writableNeedDrain) await once(process.stdout, "drain");
    },
  };
}

/** Empty: a step begins, and there is nothing to be said of it. */
function statusText(status: string, message: string): string {
  if (status === "waiting_for_step") return message;
  return message === "" ? status : `${status}: ${message}`;
}

function answerText({ content, structured }: FinalAnswer): string {
  const json = structured === undefined ? "" : `\n${JSON.stringify(structured)}`;
  return `final answer: ${content}${json}`;
}

function questionText({ toolName, inputJson }: ToolCall): string {
  const unseen = inputJson.length - clientLimits.askedInputCharsMax;
  const input = inputJson.slice(0, clientLimits.askedInputCharsMax);
  const rest = unseen > 0 ? ` (and ${unseen} characters more, see engram log)` : "";
  return `The agent wants to call ${toolName} with ${input}${rest}`;
}
