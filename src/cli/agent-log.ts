import { toJson } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { EngramError, messageOf } from "../errors.ts";
import { AdminService, type PromptInfo } from "../gen/engram/admin/v1/admin_pb.ts";
import {
  AgentService,
  type ServerMessage,
  ServerMessageSchema,
} from "../gen/engram/api/v1/agent_pb.ts";
import { cliLimits } from "./cli-limits.ts";
import { makeLines } from "./agent-log-text.ts";
import { withEngine } from "./client.ts";
import { lineColumns, print } from "./print.ts";
import { type ClientSettings, readPrinterSettings } from "./settings.ts";
import { plainText } from "./tool-text.ts";

const usage = "usage: engram log AGENT [--follow | --prompt [N]]";

/**
 * `engram log AGENT`: prints an agent's events in order; with `--prompt` what one call of its model was sent. Resolves
 * with the exit code. Fails with invalid_argument on bad usage.
 */
export async function log(args: readonly string[]): Promise<number> {
  const { follow, prompt, others } = flagsOf(args);
  const isTerminal = process.stdout.isTTY;
  const { words, settings } = readPrinterSettings(others, process.env, isTerminal);
  const [agentId, more] = words;
  if (!agentId || more !== undefined || (follow && prompt !== null))
    throw new EngramError("invalid_argument", usage);
  if (prompt !== null) return printPrompt(settings, agentId, prompt);
  // On a narrow terminal lines are wrapped: what is left of them would tell too little.
  const lineOf =
    settings.logFormat === "json"
      ? (message: ServerMessage): string => JSON.stringify(toJson(ServerMessageSchema, message))
      : makeLines(Math.max(lineColumns(), cliLimits.lineCharsLeast));
  const show = (message: ServerMessage): Promise<void> => {
    const line = `${lineOf(message)}\n`;
    // A terminal would obey some of the characters that JSON leaves as they are.
    return print(isTerminal ? plainText(line) : line);
  };
  return follow ? followLog(settings, agentId, show) : printLog(settings, agentId, show);
}

type Flags = {
  readonly follow: boolean;
  /** Which call is asked for, 0: the latest; null: none. */
  readonly prompt: bigint | null;
  readonly others: readonly string[];
};

/** The command's own flags; a number behind `--prompt` is its value, since no agent is called so. */
function flagsOf(args: readonly string[]): Flags {
  const others: string[] = [];
  let follow = false;
  let prompt: bigint | null = null;
  for (const [index, arg] of args.entries()) {
    const before = args[index - 1];
    if (before === "--prompt" && /^\d+$/.test(arg)) prompt = numberOf(arg);
    else if (arg === "--prompt") prompt = 0n;
    else if (arg.startsWith("--prompt=")) prompt = numberOf(arg.slice("--prompt=".length));
    else if (arg === "--follow") follow = true;
    else others.push(arg);
  }
  return { follow, prompt, others };
}

function numberOf(text: string): bigint {
  if (/^[1-9]\d{0,14}$/.test(text)) return BigInt(text);
  const given = JSON.stringify(text);
  throw new EngramError("invalid_argument", `--prompt is ${given}: calls are numbered from 1 on`);
}

type Show = (message: ServerMessage) => Promise<void>;

const printLog = (settings: ClientSettings, agentId: string, show: Show): Promise<number> =>
  withEngine(settings, AgentService, async (client) => {
    for await (const message of client.replay({ agentId, includeHistory: true }))
      if (message.payload.case !== "heartbeat") await show(message);
    return 0;
  });

/** Goes on until it is interrupted, through restarts of the engine too. */
async function followLog(settings: ClientSettings, agentId: string, show: Show): Promise<never> {
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(0));
  let fromSequence = 0n;
  let isAway = false;
  for (;;) {
    try {
      await withEngine(settings, AgentService, async (client) => {
        const request = { agentId, fromSequence, includeHistory: true, follow: true };
        for await (const message of client.replay(request)) {
          isAway = false;
          if (message.payload.case === "heartbeat") continue;
          await show(message);
          fromSequence = message.sequenceId + 1n;
        }
      });
    } catch (error) {
      // Who was never there has a wrong address.
      if (fromSequence === 0n || !isPassing(error)) throw error;
      if (!isAway) process.stderr.write(`engram: ${messageOf(error)}; waiting for it\n`);
      isAway = true;
    }
    await Bun.sleep(cliLimits.reconnectMs);
  }
}

/** Whether the engine has gone, or stops, and may come back. */
const isPassing = (error: unknown): boolean =>
  error instanceof EngramError &&
  (error.code === "unavailable" ||
    (error.cause instanceof ConnectError && error.cause.code === Code.Unavailable));

const printPrompt = (settings: ClientSettings, agentId: string, number: bigint): Promise<number> =>
  withEngine(settings, AdminService, async (client) => {
    // A terminal would obey what is written to it.
    const decoder = process.stdout.isTTY ? new TextDecoder() : null;
    for await (const { info, data } of client.readPrompt({ agentId, number })) {
      if (info !== undefined) process.stderr.write(`${infoText(info)}\n`);
      await print(decoder === null ? data : plainText(decoder.decode(data, { stream: true })));
    }
    if (decoder !== null) await print("\n");
    return 0;
  });

function infoText(info: PromptInfo): string {
  const { number, total, headSequence, outcomeSequence, continuedLength } = info;
  const parts = [
    `call ${number} of ${total}, made behind event ${headSequence}`,
    ...(info.condenses ? ["to condense the conversation"] : []),
    ...(continuedLength > 0n ? [`to go on behind ${continuedLength} characters`] : []),
    outcomeSequence > 0n ? `what came of it is event ${outcomeSequence}` : "nothing came of it yet",
  ];
  return parts.join(", ");
}
