import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { styleText } from "node:util";
import clock from "../../../tools/clock.wasm" with { type: "file" };
import { messageOf } from "../../errors.ts";
import type { ServerMessage } from "../../gen/engram/api/v1/agent_pb.ts";
import { type DemoClient, makeDemoClient } from "./client.ts";
import { type DemoEngine, startEngineProcess } from "./engine.ts";
import { makeTranscript, type Transcript } from "../transcript.ts";

/** Each word takes the scripted model this long: a reader can follow, and a kill has something to break off. */
const wordMs = 30;
const wordsAsked = 120;
const wordsBeforeKill = 40;

type Style = Parameters<typeof styleText>[0];

const print = (text: string): void => void process.stdout.write(text);
const paint = (style: Style, text: string): string =>
  styleText(style, text, { stream: process.stdout });
const heading = (text: string): void => print(`\n${paint("bold", text)}\n`);
const note = (text: string): void => print(`  ${paint("dim", text)}\n`);

/** What was claimed and found true or not. */
const checks: { readonly claim: string; readonly holds: boolean }[] = [];

function check(claim: string, holds: boolean): void {
  checks.push({ claim, holds });
  print(`  ${holds ? paint("green", "✓") : paint("red", "✗")} ${claim}\n`);
}

/** `engram demo`: a conversation that survives kill -9, checked as it goes. Resolves with 0 where all of it held. */
export async function demo(): Promise<number> {
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
  const folder = mkdtempSync(join(tmpdir(), "engram-demo-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const engines: DemoEngine[] = [];
  const start = async (port: number): Promise<DemoEngine> => {
    const engine = await startEngineProcess(folder, port);
    engines.push(engine);
    note(
      `engine ready at ${engine.url}, pid ${engine.pid}, after ${Math.round(engine.readyAfterMs)} ms`,
    );
    return engine;
  };
  try {
    await Bun.write(join(folder, "tools", "clock.wasm"), Bun.file(clock));
    await story(start);
  } catch (error) {
    check(`the demo ran to its end: ${messageOf(error)}`, false);
  } finally {
    for (const engine of engines) await engine.kill();
  }
  const failed = checks.filter(({ holds }) => !holds).length;
  const verdict =
    failed === 0
      ? paint(
          ["bold", "green"],
          `All ${checks.length} checks hold: nothing was lost, nothing came twice.`,
        )
      : paint(["bold", "red"], `${failed} of ${checks.length} checks failed.`);
  print(`\n${verdict}\n`);
  return failed === 0 ? 0 : 1;
}

async function story(start: (port: number) => Promise<DemoEngine>): Promise<void> {
  heading("1  An agent is created and told a secret");
  const first = await start(0);
  const client = makeDemoClient(first.url);
  const agentId = await client.createAgent("Help the user.", `scripted:${wordMs}`);
  note(`agent ${agentId}`);
  const told = await talk(client, agentId, "The secret code is 42.");
  check("the agent answered", told.text !== "");

  heading("2  It calls a tool: a WASM module in a sandboxed process, under fuel and memory limits");
  const used = await talk(client, agentId, "What time is it?");
  check("the tool ran and the agent used its result", used.toolSucceeded && used.text !== "");

  heading("3  It is killed in the middle of an answer");
  const broken = await talkUntilKilled(client, agentId, first);
  check("the stream broke before the answer was whole", broken.transcript.text() !== "");

  heading("4  It starts again, and the client goes on from the same character");
  const second = await start(Number(new URL(first.url).port));
  const resumed = makeDemoClient(second.url);
  await goOn(resumed, agentId, broken);

  heading("5  It still knows what it was told");
  const asked = await talk(resumed, agentId, "What is the secret code?");
  check("the agent knows that the code is 42", asked.text.includes("42"));
  await checkLog(resumed, agentId, broken.whole);
  check("the engine stops cleanly", (await second.stop()) === 0);
}

type Heard = { text: string; toolSucceeded: boolean; sequence: bigint };

/** One turn, shown as it comes. */
async function talk(client: DemoClient, agentId: string, content: string): Promise<Heard> {
  print(`  ${paint("cyan", "you")}    ${content}\n`);
  const heard: Heard = { text: "", toolSucceeded: false, sequence: 0n };
  const transcript = makeTranscript();
  for await (const message of client.chat(agentId, content, 0n)) {
    const { payload } = message;
    if (payload.case === "textDelta") showPiece(transcript, payload.value, "yellow");
    if (payload.case === "text") {
      print(`${sequenceText(message)}\n`);
      heard.text = payload.value.content;
      check("its pieces join to its text", transcript.text() === heard.text);
    }
    if (payload.case === "toolCall")
      print(
        `  ${paint("magenta", "call")}   ${payload.value.toolName} ${payload.value.inputJson}${sequenceText(message)}\n`,
      );
    if (payload.case === "toolResult") {
      const { output, fuelUsed, memoryBytes, isError, errorMessage } = payload.value;
      heard.toolSucceeded = !isError;
      print(
        `  ${paint("magenta", "result")} ${isError ? errorMessage : output.trim()}${sequenceText(message)}\n`,
      );
      note(`       ${fuelUsed} fuel, ${memoryBytes / 1024n} KiB of memory`);
    }
  }
  return heard;
}

type Broken = { readonly transcript: Transcript; readonly sequence: bigint; whole: string };

async function talkUntilKilled(
  client: DemoClient,
  agentId: string,
  engine: DemoEngine,
): Promise<Broken> {
  const content = `Write ${wordsAsked} words.`;
  print(`  ${paint("cyan", "you")}    ${content}\n`);
  const transcript = makeTranscript();
  let sequence = 0n;
  try {
    for await (const message of client.chat(agentId, content, 0n)) {
      sequence = message.sequenceId;
      if (message.payload.case !== "textDelta") continue;
      showPiece(transcript, message.payload.value, "yellow");
      if (transcript.text().split(" ").length >= wordsBeforeKill) await engine.kill();
    }
  } catch (error) {
    print(
      `\n  ${paint(["bold", "red"], "kill -9")} ${paint("dim", `pid ${engine.pid}: ${messageOf(error)}`)}\n`,
    );
    note(`seen so far: ${Buffer.byteLength(transcript.text())} bytes, events up to #${sequence}`);
    return { transcript, sequence, whole: "" };
  }
  throw new Error("the stream ended although the engine was killed");
}

/** Attaches again behind the last event seen, and checks that the answer goes on at the byte where it broke off. */
async function goOn(client: DemoClient, agentId: string, broken: Broken): Promise<void> {
  const before = broken.transcript.text();
  broken.transcript.attach();
  let doubled = false;
  print(
    `  ${paint("yellow", "agent")}  ${paint("dim", `(from byte ${Buffer.byteLength(before)})`)}`,
  );
  for await (const message of client.chat(agentId, "", broken.sequence)) {
    const { payload } = message;
    if (payload.case === "textDelta") {
      const { length } = broken.transcript.text();
      showPiece(broken.transcript, payload.value, "green");
      doubled ||= broken.transcript.text().length < length;
    }
    if (payload.case === "text") {
      print(`${sequenceText(message)}\n`);
      broken.whole = payload.value.content;
    }
  }
  check(
    "no byte that was shown was taken back or shown twice",
    !doubled && broken.whole.startsWith(before),
  );
  check(
    "the pieces from before and after the kill join to the text",
    broken.transcript.text() === broken.whole,
  );
  const numbers = broken.whole.split(" ").map((word) => Number(word.split("-")[1]));
  const whole = numbers.every((number, index) => number === index + 1);
  check(`all ${wordsAsked} words are there, in order`, whole && numbers.length === wordsAsked);
}

async function checkLog(client: DemoClient, agentId: string, whole: string): Promise<void> {
  let last = 0n;
  let gaps = 0;
  let texts = 0;
  for await (const { sequenceId, payload } of client.history(agentId)) {
    if (sequenceId !== last + 1n) gaps++;
    last = sequenceId;
    if (payload.case === "text" && payload.value.content === whole) texts++;
  }
  check(`its log has events 1 to ${last} without a gap`, gaps === 0 && last > 0n);
  check("the broken-off answer stands in it once", texts === 1);
}

const sequenceText = ({ sequenceId }: ServerMessage): string => paint("dim", `  #${sequenceId}`);

function showPiece(
  transcript: Transcript,
  piece: { readonly offset: bigint; readonly content: string },
  style: Style,
): void {
  if (transcript.text() === "") print(`  ${paint("yellow", "agent")}  `);
  const { fresh } = transcript.write(Number(piece.offset), piece.content);
  if (fresh !== "") print(paint(style, fresh));
}
